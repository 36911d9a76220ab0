"""What routers import to obey: watcher, sticky chooser."""
