#!/usr/bin/env python3
"""Generates Sources/Model/Docker/Generated*.swift from the Docker Engine API's OpenAPI file.

    Scripts/generate-docker-types.py ../shared/specs/docker-api/v1.55.yaml

The result is committed. Every property is optional in Swift: the engine fills in what dockerd would send, and a reader
must not fail on an older client that leaves something out. Needs PyYAML.
"""
import re, subprocess, sys, pathlib, yaml

ROOTS = """ContainerSummary ContainerInspectResponse ContainerConfig HostConfig NetworkingConfig ContainerCreateResponse
ContainerUpdateResponse ContainerStatsResponse ContainerTopResponse ContainerWaitResponse ImageInspect ImageSummary
ImageHistoryResponseItem ImageDeleteResponseItem SystemVersion SystemInfo EventMessage ErrorResponse IDResponse Volume
VolumeListResponse VolumeCreateRequest NetworkInspect NetworkSummary NetworkCreateResponse NetworkConnectRequest
NetworkDisconnectRequest FilesystemChange CreateImageInfo PushImageInfo AuthConfig AuthResponse BuildInfo DistributionInspect
Health""".split()

# Members that Go writes as null when they are unset (no omitempty): clients read them without looking.
NULLS = {
    "ContainerConfig": {"Cmd", "Entrypoint", "Volumes", "OnBuild"},
    "HostConfig": {"Binds", "VolumesFrom", "CapAdd", "CapDrop", "ExtraHosts", "GroupAdd", "SecurityOpt", "Links", "ConsoleSize",
                   "DeviceCgroupRules", "DeviceRequests", "OomKillDisable", "PidsLimit", "Ulimits", "MemorySwappiness", "Devices",
                   "MaskedPaths", "ReadonlyPaths"},
    "ContainerInspectResponse": {"ExecIDs"},
    "EndpointSettings": {"IPAMConfig", "Links", "Aliases", "DriverOpts", "DNSNames"},
    "ImageSummary": {"Labels"},
}
# Go takes a single string where a list is wanted (strslice).
STRING_LISTS = {(owner, name) for owner in ("ContainerConfig", "ContainerCreateRequest", "ImageConfig") for name in ("Cmd", "Entrypoint")}
# What older versions of the API have: read from and answered to clients that speak those.
OLDER = {
    "ContainerCreateRequest": {"MacAddress": "String"},
    "NetworkSettings": {"Bridge": "String", "HairpinMode": "Bool", "LinkLocalIPv6Address": "String", "LinkLocalIPv6PrefixLen": "Int",
                        "EndpointID": "String", "Gateway": "String", "GlobalIPv6Address": "String", "GlobalIPv6PrefixLen": "Int",
                        "IPAddress": "String", "IPPrefixLen": "Int", "IPv6Gateway": "String", "MacAddress": "String"},
}
# Members whose order in Go's struct is another than in the file.
ORDERS = {"IPAM": ["Driver", "Options", "Config"]}
# Values of maps that clients send as null (docker-py).
NULLABLE_VALUES = {("NetworkingConfig", "EndpointsConfig")}
SHORT = {"UlimitsItem": "Ulimit", "BlkioWeightDeviceItem": "WeightDevice", "LogConfig": "LogConfig"}
KEYWORDS = {"for", "if", "else", "while", "do", "try", "any", "default", "internal", "protocol", "self", "init", "in", "repeat", "operator", "public", "private", "import", "extension",
            "where", "is", "as", "case", "class", "struct", "enum", "func", "var", "let", "return", "static", "switch", "throw", "true", "false"}
spec = yaml.safe_load(open(sys.argv[1]))
defs = spec["definitions"]
out, order = {}, []


def camel(name):
    """Go's exported name as a Swift property: IPAddress -> ipAddress, ID -> id, NanoCpus -> nanoCpus."""
    name = re.sub(r"[^A-Za-z0-9]+(.)?", lambda m: (m.group(1) or "").upper(), name)
    m = re.match(r"^[A-Z]+(?![a-z])|^[A-Z]+(?=[A-Z][a-z])|^[A-Z]", name)
    result = (m.group(0).lower() + name[m.end():]) if m else name
    if result == "init": return "useInit"
    return f"`{result}`" if result in KEYWORDS else result


def pascal(name):
    name = re.sub(r"[^A-Za-z0-9]+(.)?", lambda m: (m.group(1) or "").upper(), name)
    return name[0].upper() + name[1:]


def properties(schema):
    if "$ref" in schema: return properties(defs[schema["$ref"].split("/")[-1]])
    found = {}
    for part in schema.get("allOf", []): found.update(properties(part))
    found.update(schema.get("properties") or {})
    return found


def swift_type(schema, hint, owner=None, name=None):
    if (owner, name) in STRING_LISTS: return "StringList"
    if "$ref" in schema:
        ref = schema["$ref"].split("/")[-1]
        target = defs[ref]
        if properties(target): emit(ref, target); return pascal(ref)
        return swift_type(target, ref)
    if "allOf" in schema:
        if properties(schema):
            parts = [p for p in schema["allOf"] if "$ref" in p]
            if len(parts) == 1 and not any(p.get("properties") for p in schema["allOf"]): return swift_type(parts[0], hint)
            emit(schema.get("title", hint), schema); return pascal(schema.get("title", hint))
        return swift_type(schema["allOf"][0], hint)
    kind = schema.get("type")
    if isinstance(kind, list): kind = next(k for k in kind if k != "null")
    if kind == "string": return "String"
    if kind == "boolean": return "Bool"
    if kind == "integer": return "UInt64" if schema.get("format") == "uint64" else "Int"
    if kind == "number": return "Double"
    if kind == "array":
        item = schema.get("items") or {}
        element = swift_type(item, hint + "Item")
        return f"[{element}]"
    if properties(schema):
        title = SHORT.get(re.sub("^(HostConfig|ContainerUpdateRequest)", "", hint)) or schema.get("title", hint)
        emit(title, schema); return pascal(title)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and extra:
        if extra.get("type") == "object" and not properties(extra): return "[String: Empty]"
        value = swift_type(extra, hint + "Value")
        nullable = extra.get("x-nullable") or (owner, name) in NULLABLE_VALUES
        return f"[String: {value}{'?' if nullable else ''}]"
    return "JSONValue"


def emit(name, schema):
    swift = pascal(name)
    if swift in out: return
    out[swift] = None
    order.append(swift)
    fields = [(key, camel(key), swift_type(value, swift + pascal(key), name, key)) for key, value in properties(schema).items()]
    if name in ORDERS: fields.sort(key=lambda field: ORDERS[name].index(field[0]))
    fields += [(key, camel(key), kind) for key, kind in OLDER.get(swift, {}).items()]
    doc = (schema.get("description") or "").strip().split("\n\n")[0].replace("\n", " ").strip()
    doc = re.sub(r"\s+", " ", doc)
    lines = []
    if doc: lines.append("    /// " + (doc if len(doc) < 115 else doc[:112].rsplit(" ", 1)[0] + " …"))
    lines.append(f"    public struct {swift}: Sendable {{")
    lines += [f"        public var {prop}: {kind}?" for _, prop, kind in fields]
    lines += ["        public init() {}", "    }"]
    body = ["", f"extension Docker.{swift}: JSONReadable, JSONWritable {{", "    public init(from reader: inout JSONReader) throws {",
            "        self.init()", "        try reader.object { key, reader in", "            switch key {"]
    body += [f'            case "{key}": self.{prop.strip("`")} = try reader.value()' for key, prop, _ in fields]
    body += ["            default: try reader.skip()", "            }", "        }", "    }", "",
             "    public func write(to writer: inout JSONWriter) {", "        writer.object { writer in"]
    nulls = NULLS.get(name, set())
    if swift == "ContainerCreateRequest": nulls = set()
    body += [f'            writer.member("{key}", {"" if key in nulls else "ifPresent: "}{prop})' for key, prop, _ in fields]
    body += ["        }", "    }", "}"]
    out[swift] = "\n".join(["extension Docker {"] + lines + ["}"] + body)


def bodies():
    """Types that stand inside the paths: request bodies and titled responses."""
    named = {("post", "/containers/create"): "ContainerCreateRequest", ("post", "/containers/{id}/update"): "ContainerUpdateRequest"}
    for path, verbs in spec["paths"].items():
        if path.startswith(("/system/df", "/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/plugins", "/build")): continue
        for verb, operation in verbs.items():
            for parameter in operation.get("parameters", []):
                if parameter.get("in") == "body":
                    name = named.get((verb, path)) or parameter["schema"].get("title")
                    if name and properties(parameter["schema"]): emit(name, parameter["schema"])
            for response in operation.get("responses", {}).values():
                schema = response.get("schema") or {}
                schema = schema.get("items", schema)
                if schema.get("title") and properties(schema): emit(schema["title"], schema)


for root in ROOTS: emit(root, defs[root])
bodies()
folder = pathlib.Path(__file__).resolve().parent.parent / "Sources/Model/Docker"
for old in folder.glob("Generated*.swift"): old.unlink()
groups = {}
for name in sorted(order):
    group = next((g for g in ("Container", "Image", "Network", "Volume", "System") if name.startswith(g)), None)
    groups.setdefault(group or ("HostConfig" if name == "HostConfig" else "Shared"), []).append(name)
for group, names in groups.items():
    file = folder / f"Generated{group}.swift"
    file.write_text("// Generated by Scripts/generate-docker-types.py from the Engine API's OpenAPI file. Do not edit.\n\nimport JSON\n\n"
                    + "\n\n".join(out[n] for n in names) + "\n")
    subprocess.run(["swift", "format", "-i", "--configuration", str(folder.parents[2] / ".swift-format"), str(file)], check=True)
print(len(order), "types")
