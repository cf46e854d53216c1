"""The one place that joins the parts: an instance of the server over its stores."""

from authsvc.app.instance import App, Development, open_app
from authsvc.app.listening import AddressTaken

__all__ = ["AddressTaken", "App", "Development", "open_app"]
