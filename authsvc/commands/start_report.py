"""Owns refusing to start on what is unsafe beyond the settings: one report with all of it. Leaves finding it to
`authsvc.app.soundness`."""

from authsvc.app import App
from authsvc.app.soundness import mistakes
from authsvc.commands.demo import demo_accounts
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.outside import wall_clock


async def refuse_unsafe(app: App) -> None:
    """Return if a server may start on these stores. Raises CommandFailed, StoreUnavailable."""
    found = await mistakes(app.settings, app.stores, app.cache, wall_clock)
    accounts = await demo_accounts(app.stores)
    if accounts:
        found.append(
            f"AUTHSVC_DATABASE_URL: holds accounts that `authsvc dev` made ({', '.join(accounts)}); "
            "a server needs a database of its own"
        )
    if found:
        listed = "\n".join(f"  - {each}" for each in found)
        raise CommandFailed(f"what the settings lead to cannot be used:\n{listed}", WRONG_USE)
