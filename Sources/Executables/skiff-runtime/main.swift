import CSeal
import Glibc
import Shim

// A program that enters containers runs from its sealed copy: entered by CSeal before this line, or made by the command.
exit(runtimeMain(isSealed: skiff_is_sealed_copy() == 1, mount: skiff_sealed_mount()))
