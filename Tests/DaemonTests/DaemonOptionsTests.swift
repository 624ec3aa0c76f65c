import Daemon
import Testing

@Suite struct DaemonOptionsTests {
    @Test func flagsComeInAllFormsOfPflag() throws {
        let summary = try DaemonCommandLine.summary([
            "--data-root=/d", "--exec-root", "/r/", "-H", "unix:///s.sock", "-D", "--mtu", "1400",
        ])
        #expect(summary == "data /d, run /r, sockets /s.sock, level debug, mtu 1400")
    }

    @Test(arguments: [
        (["--ipv6"], ""), (["--ipv6=true"], ""), (["--ipv6=false"], ", without IPv6"),
        (["--fixed-cidr-v6", "fd12::/64"], ", subnet fd12::/64"), (["--bip6=fd12::/64"], ", subnet fd12::/64"),
        (
            ["--bip6", "fd12::5/64", "--fixed-cidr-v6", "fd12::8000/113"],
            ", subnet fd12::/64, gateway fd12::5, range fd12::8000/113"
        ),
    ])
    func ipv6OfTheDefaultBridge(arguments: [String], told: String) throws {
        #expect(try DaemonCommandLine.summary(arguments).hasSuffix("level info" + told))
    }

    @Test(arguments: [
        (["--nope", "1"], "unknown flag: --nope"), (["-x"], "unknown flag: -x"), (["word"], "unexpected argument \"word\""),
        (["--data-root"], "flag needs an argument: --data-root"),
        (["--data-root", "relative"], "invalid argument for --data-root: \"relative\" is no absolute path"),
        (["--mtu", "3"], "invalid argument for --mtu: \"3\" is no MTU from 68 to 65535"),
        (["--ipv6=perhaps"], "invalid argument for --ipv6: \"perhaps\" is neither true nor false"),
        (["--bip6", "fd12::5"], "invalid argument for --bip6: \"fd12::5\" is no address with its subnet like fd12:3456::1/64"),
        (
            ["--forward-rules", "x"],
            "invalid argument for --forward-rules: \"x\" says not what to do with chains that forbid forwarding: add and warn do"
        ),
        (["--subnet", "x"], "invalid argument for --subnet: \"x\" is no subnet like 172.30.0.0/16"),
        (
            ["--bridge", "a-name-that-is-too-long"],
            "invalid argument for --bridge: \"a-name-that-is-too-long\" is no name of a link: at most 15 bytes, no slash"
        ),
    ])
    func whatMakesNoSenseIsNamed(arguments: [String], text: String) {
        #expect { try DaemonCommandLine.summary(arguments) } throws: { "\($0)" == text }
    }
}
