public func daemonMain() -> Int32 { 0 }
