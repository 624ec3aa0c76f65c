/// Text of strangers on its way to people's terminals and logs.
public enum VisibleText {
    /// One line, not longer than `limit` characters, without what a terminal obeys or what turns the direction of writing: each
    /// becomes a space.
    public static func of(_ text: some StringProtocol, limit: Int = 300) -> String {
        var line = ""
        for scalar in text.unicodeScalars.prefix(limit) {
            switch scalar.properties.generalCategory {
            case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
                line.unicodeScalars.append(" ")
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}
