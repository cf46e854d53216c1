"""The one place that joins the parts: an instance of the server over its stores."""

from authsvc.app.instance import App, Development
from authsvc.app.listening import AddressTaken
from authsvc.app.opening import open_app

__all__ = ["AddressTaken", "App", "Development", "open_app"]
