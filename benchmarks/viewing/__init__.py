"""Parts of the benchmark of the dashboard: what it is fed, its process, its viewers and its painting."""
