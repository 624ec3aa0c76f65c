enum RegistryHelp {
    static let text = """
        Usage: skiff registry serve [OPTIONS]
               skiff registry check [--root DIR] [--repair]

        A registry of one's own: OCI distribution 1.1, in a process and a folder apart from the engine.

        Where:
              --listen ADDRESS         Address and port; may be repeated (default 127.0.0.1:5000)
              --root DIR               Folder of the registry (default /var/lib/skiff-registry, for users
                                       $XDG_DATA_HOME/skiff/registry)
              --tls-cert FILE          Certificate with its chain, PEM; read again on SIGHUP
              --tls-key FILE           Its key, PEM

        Who:
              --htpasswd FILE          Users and their passwords (bcrypt, `htpasswd -B`); read again when it changes
              --token-realm URL        Where clients get tokens
              --token-service NAME     What this registry is called in tokens
              --token-issuer NAME      Who must have issued them
              --token-keys FILE        Public keys or certificates (PEM) or a JWKS that tokens must be signed with

        What:
              --read-only              Nothing can be pushed or deleted
              --delete                 Manifests, tags and blobs may be deleted
              --delete-untagged        Manifests without a tag, an index or a subject are collected
              --mirror URL             Be a pull-through mirror of that registry; nothing can be pushed
              --mirror-ttl TIME        What nobody asked for so long goes (default 7d)
              --mirror-check TIME      How long a tag is not asked for again upstream (default 1m)
              --mirror-credentials FILE  USER:PASSWORD for the mirrored registry
              --grace TIME             How long a blob stays that no manifest names (default 1h)

        Bounds:
              --max-connections N      Connections at one time (default 512)
              --max-blob-size SIZE     Larger blobs are refused
              --max-uploads N          Uploads open at one time (default 4096)
              --upload-ttl TIME        An upload that rests so long is dropped (default 24h)

        Log:
              --log-format FORMAT      text or json (default text)
              --quiet                  No line for each request

        Check reads everything at rest and compares it with its digest; --repair removes what is damaged, so that it can be
        pushed again.

        Examples:
          skiff registry serve
          skiff registry serve --listen :5000 --tls-cert cert.pem --tls-key key.pem --htpasswd users
          skiff registry serve --listen 127.0.0.1:5001 --mirror https://registry-1.docker.io

        """
}
