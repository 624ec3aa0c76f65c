import Engine
import Model
import Testing

struct AppArmorStandingTests {
    private func options(_ words: String...) throws -> SecurityOptions { try SecurityOptions(words) }

    @Test func `The default profile where it is loaded and nobody names another`() throws {
        #expect(AppArmorStanding.ready.profile(try options(), privileged: false) == "skiff-default")
        #expect(AppArmorStanding.ready.profile(try options("apparmor="), privileged: false) == "skiff-default")
        #expect(AppArmorStanding.ready.profile(try options(), privileged: true) == nil)
        #expect(AppArmorStanding.absent.profile(try options(), privileged: false) == nil)
        #expect(AppArmorStanding.unusable("x").profile(try options(), privileged: false) == nil)
    }

    @Test func `A profile that is named counts first`() throws {
        for standing in [AppArmorStanding.ready, .absent, .unusable("x")] {
            #expect(standing.profile(try options("apparmor=mine"), privileged: true) == "mine")
            #expect(standing.profile(try options("apparmor:unconfined"), privileged: false) == nil)
        }
    }

    @Test func `Inspection shows nothing where there is no AppArmor`() throws {
        #expect(AppArmorStanding.absent.shown(try options("apparmor=unconfined"), privileged: false) == "")
        #expect(AppArmorStanding.ready.shown(try options(), privileged: false) == "skiff-default")
        #expect(AppArmorStanding.ready.shown(try options(), privileged: true) == "unconfined")
        #expect(AppArmorStanding.ready.shown(try options("apparmor=unconfined"), privileged: false) == "unconfined")
        #expect(AppArmorStanding.unusable("x").shown(try options(), privileged: false) == "unconfined")
    }

    @Test func `Only what cannot be had is warned of`() {
        #expect(AppArmorStanding.ready.warning == nil)
        #expect(AppArmorStanding.absent.warning == nil)
        #expect(AppArmorStanding.unusable("no parser").warning?.hasSuffix("skiff-default: no parser") == true)
    }
}
