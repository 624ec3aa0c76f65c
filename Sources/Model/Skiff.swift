/// The product itself.
public enum Skiff {
    /// As `--version` shows it, without a `v`.
    public static let version = "0.1.0"
}
