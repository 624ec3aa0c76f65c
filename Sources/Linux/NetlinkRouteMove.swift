extension RouteRequest {
    /// Moves a link into another network namespace under a name of its own there (IFLA_NET_NS_FD).
    public static func move(link index: Int32, toNamespace namespace: CInt, name: String) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer, index: index)
        writer.attribute(attributeName, text: name)
        writer.attribute(attributeNamespace, native: UInt32(bitPattern: namespace))
        return NetlinkMessage(type: newLink, flags: 0, payload: writer.bytes, subject: "move link \(index) as \(name)")
    }
}
