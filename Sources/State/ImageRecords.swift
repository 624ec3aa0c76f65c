import Model

extension SchemaPart {
    /// Images, their names, layers and contents, and who holds them.
    public static let images = SchemaPart(
        name: "images",
        steps: [
            """
            CREATE TABLE layer (
                chain_id TEXT PRIMARY KEY,
                diff_id TEXT NOT NULL,
                -- folder below the layers' folder; several chains may share one
                tree TEXT NOT NULL,
                -- bytes of its files
                size INTEGER NOT NULL
            ) WITHOUT ROWID;
            -- Folders that stand for a layer and all below it, for images with more layers than the kernel stacks.
            CREATE TABLE layer_merge (
                chain_id TEXT PRIMARY KEY REFERENCES layer(chain_id) ON DELETE CASCADE,
                tree TEXT NOT NULL
            ) WITHOUT ROWID;
            CREATE INDEX layer_tree ON layer(tree);
            CREATE INDEX layer_diff ON layer(diff_id);
            CREATE TABLE blob (
                digest TEXT PRIMARY KEY,
                size INTEGER NOT NULL,
                media_type TEXT NOT NULL,
                -- of a layer: digest of the tar when uncompressed
                diff_id TEXT,
                -- not null: no file; made again from this folder's recipe
                tree TEXT
            ) WITHOUT ROWID;
            CREATE TABLE image (
                id TEXT PRIMARY KEY,
                config BLOB NOT NULL,
                parent TEXT,
                manifest TEXT,
                created INTEGER,
                size INTEGER NOT NULL,
                owner INTEGER NOT NULL,
                added INTEGER NOT NULL,
                tagged INTEGER
            ) WITHOUT ROWID;
            CREATE INDEX image_parent ON image(parent);
            CREATE TABLE image_layer (
                image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,
                position INTEGER NOT NULL,
                chain_id TEXT NOT NULL REFERENCES layer(chain_id),
                PRIMARY KEY (image_id, position)
            ) WITHOUT ROWID;
            CREATE INDEX image_layer_chain ON image_layer(chain_id);
            CREATE TABLE image_blob (
                image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,
                digest TEXT NOT NULL REFERENCES blob(digest),
                PRIMARY KEY (image_id, digest)
            ) WITHOUT ROWID;
            CREATE INDEX image_blob_digest ON image_blob(digest);
            CREATE TABLE image_tag (
                name TEXT PRIMARY KEY,
                image_id TEXT NOT NULL REFERENCES image(id)
            ) WITHOUT ROWID;
            CREATE INDEX image_tag_image ON image_tag(image_id);
            CREATE TABLE image_digest (
                name TEXT NOT NULL,
                image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,
                PRIMARY KEY (name, image_id)
            ) WITHOUT ROWID;
            CREATE INDEX image_digest_image ON image_digest(image_id);
            CREATE TABLE image_hold (
                holder TEXT NOT NULL,
                image_id TEXT NOT NULL REFERENCES image(id),
                PRIMARY KEY (holder, image_id)
            ) WITHOUT ROWID;
            CREATE INDEX image_hold_image ON image_hold(image_id);
            """,
            """
            -- not null: no file; this repository handed the content out to anybody when its file was dropped
            ALTER TABLE blob ADD COLUMN origin TEXT;
            """,
        ])
}

extension Transaction {
    /// A container holds its image: neither the image nor its layers are collected before `releaseImages`. Belongs into the
    /// transaction that records the container. Repeatable.
    /// - Throws: `notFound` in docker's words when the image was removed meanwhile.
    public func holdImage(_ image: Digest, holder: ObjectID) throws {
        guard try first("SELECT 1 FROM image WHERE id = ?", image, map: { _ in true }) == true else {
            throw Fault(.notFound, "No such image: \(image)", subject: image.description)
        }
        try run("INSERT OR IGNORE INTO image_hold VALUES (?, ?)", holder, image)
    }

    /// Ends every hold of this container. Belongs into the transaction that deletes its record. Repeatable.
    public func releaseImages(holder: ObjectID) throws { try run("DELETE FROM image_hold WHERE holder = ?", holder) }
}

extension Row {
    /// - Throws: `system` when the column holds no digest: the record was damaged.
    public func digest(_ column: Int) throws -> Digest {
        let text = text(column)
        guard let digest = Digest(text) else {
            throw Fault(.system, "the state file holds \"\(text)\" where a digest belongs")
        }
        return digest
    }

    public func optionalDigest(_ column: Int) throws -> Digest? { isNull(column) ? nil : try digest(column) }
}

extension Digest: SQLBindable { public var sqlValue: SQLValue { .text(description) } }
