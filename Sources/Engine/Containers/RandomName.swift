/// Two words for a container without a name: `126` times `169` of them.
package enum RandomName {
    package static let first = words(
        "able agile alert amber ample azure blithe bold brave breezy bright brisk calm candid cheerful "
            + "chipper civil clear clever cosy crisp curious daring deft dapper eager early earnest easy "
            + "elated fair fancy fleet fluent fond frank free fresh frosty funny gentle genial gifted glad "
            + "gleaming golden graceful grand happy hardy hasty hearty helpful honest humble ideal jolly "
            + "jovial keen kind lively loyal lucid lucky lunar mellow merry mighty mild modest neat nimble "
            + "noble patient peppy placid playful pleasant plucky polite prompt proud quick quiet radiant "
            + "ready rosy rustic serene sharp shiny silent silver simple sleek smart smooth snug sober solid "
            + "spry stable stark steady sturdy subtle sunny supple sweet swift tame tender thrifty tidy "
            + "tranquil trusty upbeat vivid warm wary willing wise witty worthy zesty zealous")

    package static let second = words(
        "acorn alder anchor aspen atlas badger barge basalt beacon beaver birch bison boulder brook buoy "
            + "canyon canoe cedar cherry cliff cloud clover comet condor coral cove crane creek cricket "
            + "cutter delta dinghy dolphin dove dune eagle ember estuary falcon fern ferry finch fjord flint "
            + "fox frigate galleon garnet geyser glacier granite grove gull harbor hare hawk hazel heron hill "
            + "hull ibex inlet iris island jasper jetty kayak keel kelp kestrel lagoon lake lantern lark "
            + "ledge lemur lily linden lotus lynx magpie mantis maple marble marlin marsh mast meadow mesa "
            + "mole moon moose moss newt oak oar ocean opal orca orchid osprey otter owl oyster panda pebble "
            + "pelican penguin petrel pier pike pine plover pond poplar puffin quail quartz quay raft rapid "
            + "raven reef ridge river robin rook rowan rudder sail salmon sand seal shale shoal shore skiff "
            + "slate sloop sparrow spruce squid star stone stork stream summit sun swan tarn teal tern "
            + "thistle tide topaz trout tulip tundra turtle valley walrus wave weasel whale willow wren yacht "
            + "yew zebra")

    /// `calm_otter`; with a number behind it from the second attempt on.
    package static func make(attempt: Int = 0) -> String {
        let left = first.randomElement() ?? "quiet"
        let right = second.randomElement() ?? "harbor"
        return attempt < 3 ? "\(left)_\(right)" : "\(left)_\(right)\(Int.random(in: 0...99_999))"
    }

    private static func words(_ text: String) -> [String] { text.split(separator: " ").map { String($0) } }
}
