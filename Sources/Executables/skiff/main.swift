import CLI
import Glibc

exit(cliMain())
