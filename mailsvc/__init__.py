"""mailsvc: a transactional e-mail gateway. The way of a mail is told in docs/architecture.md."""

__version__ = "0.1.0"
