"""The streaming server: protocol, session, scheduler, worker, encoder, web application."""
