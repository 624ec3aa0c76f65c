import Glibc

public enum Processors {
    /// How many are online, at least one. sysconf(3) _SC_NPROCESSORS_ONLN
    public static var online: Int { max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))) }
}
