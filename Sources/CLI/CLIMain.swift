public func cliMain() -> Int32 { 0 }
