"""Which instances are connected to the database."""

from authsvc.stores.sql import open_stores


async def test_instances_find_each_other(postgres_url: str) -> None:
    """An instance sees every other that holds a connection, and no program without a name."""
    one, other = open_stores(postgres_url, instance="one"), open_stores(postgres_url, instance="other")
    command = open_stores(postgres_url)
    await other.ping()
    await command.ping()

    both = await one.peers.list()
    await other.close()
    alone = await one.peers.list()

    await one.close()
    await command.close()
    assert both == {"one", "other"}
    assert alone == {"one"}


async def test_one_machine_needs_no_names(sqlite_url: str) -> None:
    """On SQLite nobody is looked for: nobody there is ever cut off from it."""
    stores = open_stores(sqlite_url)

    assert await stores.peers.list() == frozenset()
    await stores.close()
