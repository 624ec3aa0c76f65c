import Glibc
import Shim

exit(runtimeMain())
