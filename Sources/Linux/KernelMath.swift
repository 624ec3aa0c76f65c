import Glibc

/// log2(3) and pow(3), for the rooms that do not import the C library.
public enum KernelMath {
    public static func log2(_ value: Double) -> Double { Glibc.log2(value) }
    public static func power(_ base: Double, _ exponent: Double) -> Double { Glibc.pow(base, exponent) }
}
