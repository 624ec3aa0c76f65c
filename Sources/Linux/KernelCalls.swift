import CKernel

/// Newer system calls that this program uses, asked for with arguments that are refused before anything happens.
public enum KernelCalls {
    public struct Missing: Sendable, Equatable {
        /// We do without.
        public var replaced: [String] = []
        /// Nothing can stand in.
        public var needed: [String] = []
    }

    /// Those that the kernel, or a filter around this process, answers with ENOSYS.
    public static var missing: Missing {
        var result = Missing()
        var isMissing: CInt = 0
        var isReplaced: CInt = 0
        var index: UInt32 = 0
        while let name = skiff_missing_call(index, &isMissing, &isReplaced) {
            if isMissing != 0 {
                if isReplaced != 0 {
                    result.replaced.append(String(cString: name))
                } else {
                    result.needed.append(String(cString: name))
                }
            }
            index += 1
        }
        return result
    }
}
