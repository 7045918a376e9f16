"""HTTP and WebSockets: the application, its page, its safety."""
