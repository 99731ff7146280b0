"""Where each configured provider is to send its reports, and what has to be set so that they count."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .config import Config
from .providers import all_providers
from .providers.base import Can

PUBLIC_URL = "MAILSVC_PUBLIC_URL"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook of one provider. `key` is the variable to set, `words` what to set it to; `missing` are not set yet.

    `url` is where the provider is to send its reports, with a gap where the public name is not known.
    """

    provider: str
    url: str
    key: str
    words: str
    missing: tuple[str, ...]

    @property
    def todo(self) -> str:
        """What to do about what is missing."""
        return f"set {' and '.join(self.missing)}: `mailsvc providers hooks` says to what"


def webhooks(config: Config) -> list[Webhook]:
    """Those of the configured providers that can report."""
    kinds, found = all_providers(), []
    for name, settings in config.providers.items():
        if name in kinds and Can.REPORT in kinds[name].can:
            key = f"{name.upper()}_WEBHOOK_KEY"
            needed = {key: settings.hook_key}
            if kinds[name].hook_url_signed:
                needed[PUBLIC_URL] = config.public_url
            missing = tuple(variable for variable, value in needed.items() if not value)
            url = f"{config.public_url or 'https://…'}/hooks/{name}"
            found.append(Webhook(name, url, key, kinds[name].hook_words, missing))
    return found


def table(config: Config, *, as_json: bool) -> str:
    """The webhooks as a person or a program reads them."""
    hooks = webhooks(config)
    if as_json:
        return json.dumps([asdict(hook) for hook in hooks], indent=2)
    lines = [] if config.public_url else [f"{PUBLIC_URL} is not set: the URLs below need the name of this server.", ""]
    for hook in hooks:
        state = "is not set" if hook.key in hook.missing else "is set"
        lines += [hook.provider, f"  URL  {hook.url}", f"  key  {hook.key} ({state}): {hook.words}"]
    return "\n".join(lines) if hooks else "No provider is configured that sends reports."
