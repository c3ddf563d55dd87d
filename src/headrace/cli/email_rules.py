"""`headrace email rules ...`: the rules that take an open or a click for a machine's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli.email_place import change, opened
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line, print_table
from headrace.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from headrace.reports.model.settings import ModelSettings

commands: Final = typer.Typer(no_args_is_help=True, help="The rules that take an open or a click for a machine's.")

Name = Annotated[str, typer.Argument(metavar="RULE", help="The rule, as `headrace email rules list` names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="rules")


@commands.command("list")
def list_rules(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the rules, and what rules of your own may ask."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.rule_fields import DESCRIBED_FIELDS  # noqa: PLC0415 - as above
    from headrace.reports.model.rules_shown import rules_shown  # noqa: PLC0415 - as above

    with opened(data, config) as place:
        rules = rules_shown(place.settings)
    if as_json:
        print_json(msgspec.to_builtins(rules))
        return
    print_table(
        ("RULE", "ON", "OF", "FLAGS", "SENTENCE", "WHEN"),
        (
            (
                rule.name,
                "on" if rule.on else "off",
                "headrace" if rule.built_in else "you",
                {"opened": "opens", "clicked": "clicks"}.get(rule.kind, "both"),
                rule.sentence,
                ", ".join(" ".join(map(_word, (c.field, c.operator, c.value))).strip() for c in rule.when),
            )
            for rule in rules
        ),
        "",
    )
    print_line("\nA rule of your own may ask:")
    print_table(("FIELD", "TYPE", "WHAT IT IS"), ((name, *field) for name, field in DESCRIBED_FIELDS.items()), "")


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_word, value))
    return {True: "true", False: "false", None: ""}[value] if value is None or isinstance(value, bool) else str(value)


@commands.command()
def on(name: Name, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Switch a rule on."""
    change(data, config, lambda settings: _switched(settings, name, on=True), as_json=as_json)


@commands.command()
def off(name: Name, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Switch a rule off: it flags nothing any more."""
    change(data, config, lambda settings: _switched(settings, name, on=False), as_json=as_json)


def _switched(settings: ModelSettings, name: str, *, on: bool) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import BUILT_IN  # noqa: PLC0415 - as above

    own = {rule.name for rule in settings.rules}
    if name not in own and name not in BUILT_IN:
        raise NotFoundError(f"email rules: there is no {name[:100]!r}; see: headrace email rules list")
    disabled = [one for one in settings.disabled_rules if one != name]
    return replace(
        settings,
        disabled_rules=disabled if on or name in own else [*disabled, name],
        rules=[replace(rule, enabled=on) if rule.name == name else rule for rule in settings.rules],
    )


@commands.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and _.")],
    *,
    sentence: Annotated[str, typer.Option(metavar="TEXT", help="What it means, for people.")],
    when: Annotated[
        list[str],
        typer.Option(
            metavar="CONDITION",
            help="`FIELD OPERATOR VALUE`, for example 'ip starts_with 10.'; lists with commas: 'domain in a.example,b.example'. May be repeated: all must hold.",
        ),
    ],
    kind: Annotated[str, typer.Option(metavar="KIND", help="opened, clicked or both.")] = "both",
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a rule of your own; it is on."""
    given = {"name": name, "sentence": sentence, "kind": kind, "when": [_condition(text) for text in when]}
    change(data, config, lambda settings: _added(settings, given), as_json=as_json)


def _added(settings: ModelSettings, given: dict[str, Any]) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import converted  # noqa: PLC0415 - as above

    if given["name"] in {rule.name for rule in settings.rules}:
        raise ConfigError(
            f"email rules: there is {given['name']} already; remove it first: headrace email rules remove {given['name']}"
        )
    return replace(settings, rules=[*settings.rules, *converted({"rules": [given]}).rules])


def _condition(text: str) -> list[Any]:
    from headrace.reports.conditions import OPERATORS  # noqa: PLC0415 - --help needs none of it
    from headrace.reports.model.rule_fields import RULE_FIELDS  # noqa: PLC0415 - as above

    field, operator, value = (*text.split(None, 2), "", "")[:3]
    if operator not in OPERATORS:
        raise typer.BadParameter(
            f"{plain(text[:200])!r}: give FIELD OPERATOR VALUE; operators are {', '.join(OPERATORS)}",
            param_hint="--when",
        )
    if operator in ("known", "unknown") and not value:
        return [field, operator]
    type_ = RULE_FIELDS.get(field, "text")
    if operator in ("in", "not_in", "contains_any"):
        return [field, operator, [_typed(type_, part.strip()) for part in value.split(",")]]
    return [field, operator, _typed(type_, value.strip())]


def _typed(type_: str, text: str) -> Any:
    """What is none of the type stays a text, and is refused as one."""
    if type_ == "truth":
        return {"true": True, "false": False}.get(text.lower(), text)
    if type_ == "number":
        try:
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            return text
    return text


@commands.command()
def remove(name: Name, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Remove a rule of your own."""
    change(data, config, lambda settings: _removed(settings, name), as_json=as_json)


def _removed(settings: ModelSettings, name: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import BUILT_IN  # noqa: PLC0415 - as above

    if name in BUILT_IN:
        raise ConfigError(f"email rules: {name} is built in; switch it off: headrace email rules off {name}")
    rules = [rule for rule in settings.rules if rule.name != name]
    if len(rules) == len(settings.rules):
        raise NotFoundError(f"email rules: there is no {name[:100]!r}; see: headrace email rules list")
    return replace(settings, rules=rules, disabled_rules=[one for one in settings.disabled_rules if one != name])
