// The room's first file; its content comes with the room.
