public func runtimeMain() -> Int32 { 0 }
