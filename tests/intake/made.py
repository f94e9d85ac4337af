"""Files in a spool without a listener."""

NO_META = b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\0\0\0\0"


def kept(spool, uid, dataset, head=NO_META):
    """Write one instance as the listener does; its head has a file meta of no elements."""
    file = spool.receive(head)
    try:
        file.write(dataset)
        stored = file.place(uid)
        file.sync(stored)
    except OSError:
        file.drop()
        raise
    return stored
