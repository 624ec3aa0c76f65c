import Daemon
import Glibc

exit(daemonMain())
