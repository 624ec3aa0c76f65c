import Linux

/// Work for a thread of its own, in order. Any thread may put; one waits.
final class NetlinkQueue<Element: Sendable>: Sendable {
    private struct Content {
        var elements: [Element] = []
        var isClosed = false
    }

    private let content = Monitor(Content())

    /// False once the queue is closed: the element is not taken.
    @discardableResult
    func put(_ element: Element) -> Bool {
        content.update { content in
            if content.isClosed { return false }
            content.elements.append(element)
            return true
        }
    }

    /// Waits for elements and takes all of them; nil means closed and empty.
    func takeAll() -> [Element]? {
        content.wait { content -> [Element]?? in
            if content.elements.isEmpty { return content.isClosed ? .some(nil) : nil }
            defer { content.elements = [] }
            return .some(content.elements)
        }
    }

    /// Waits for one; nil means closed and empty.
    func take() -> Element? {
        content.wait { content -> Element?? in
            if content.elements.isEmpty { return content.isClosed ? .some(nil) : nil }
            return .some(content.elements.removeFirst())
        }
    }

    /// Takes what is there, without waiting.
    func takeNow() -> [Element] {
        content.update { content in
            defer { content.elements = [] }
            return content.elements
        }
    }

    var isClosed: Bool { content.update { $0.isClosed } }

    /// What was put before is still handed out.
    func close() { content.update { $0.isClosed = true } }
}
