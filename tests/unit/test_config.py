"""ferry.toml: what is accepted, and how what is not is told."""

from pathlib import Path

import pytest

from service.config import Config, ConfigError, load, parse

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "service" / "ferry.toml"


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_the_file_the_installer_writes_says_exactly_the_defaults() -> None:
    assert load(DEFAULT_FILE) == Config()


def test_an_empty_file_means_the_defaults() -> None:
    config = parse("")
    assert (config.web.host, config.web.port) == ("0.0.0.0", 8080)
    assert (config.engine.context_tokens, config.queue.total, config.history.turns) == (2048, 16, 8)


def test_settings_replace_the_defaults_one_by_one() -> None:
    config = parse('[web]\nlisten = "[::1]:9000"\n[engine]\nthreads = 3\n[audit]\nenabled = false\n')
    assert (config.web.host, config.web.port) == ("::1", 9000)
    assert config.engine.threads == 3
    assert config.engine.max_new_tokens == 512
    assert not config.audit.enabled


def test_a_misspelt_key_is_named_with_the_keys_that_exist() -> None:
    message = complaint('[web]\nlistn = "127.0.0.1:80"\n')
    assert message.startswith("ferry.toml: [web] listn: no such key; allowed: listen, ")


def test_an_unknown_section_is_named_with_the_sections_that_exist() -> None:
    assert complaint("[webb]\n").startswith("ferry.toml: [webb]: no such section; allowed: [web], ")


def test_a_key_outside_any_section_is_refused() -> None:
    assert "threads: stands in no section" in complaint("threads = 2\n")


def test_every_problem_is_reported_at_once() -> None:
    lines = complaint('[web]\nlistn = 1\nlisten = "x"\n[queue]\ntotal = 0\n').splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("web", 'listen = "8080"'),
        ("web", 'listen = "0.0.0.0:0"'),
        ("web", 'listen = "300.0.0.1:80"'),
        ("web", 'listen = "::1:80"'),
        ("web", "listen = 8080"),
        ("web", "session_hours = 0"),
        ("web", 'auth = "ldap"'),
        ("web", 'trusted_proxies = ["proxy.example"]'),
        ("web", "trusted_proxies = [1]"),
        ("web", 'trusted_proxies = "10.0.0.1"'),
        ("web", 'proxy_header = "X-Remote User"'),
        ("web", 'proxy_header = "Cookie"'),
        ("web", "requests_per_minute = -1"),
        ("web", "max_body_kib = 1.5"),
        ("engine", 'url = "10.0.0.7:8000"'),
        ("engine", 'url = "ftp://10.0.0.7"'),
        ("engine", 'url = "http://10.0.0.7:80800"'),
        ("engine", 'url = "http://[10.0.0.7"'),
        ("engine", 'api_key_file = "engine.key"'),
        ("engine", "ca_file = true"),
        ("engine", 'forward_user = "yes"'),
        ("engine", "threads = true"),
        ("engine", "threads = -1"),
        ("engine", "context_tokens = 1"),
        ("engine", "slots = 0"),
        ("engine", "slots = 65"),
        ("engine", 'precision = "int4"'),
        ("queue", 'per_user = "2"'),
        ("history", "turns = 0"),
        ("audit", "enabled = 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(section: str, line: str) -> None:
    message = complaint(f"[{section}]\n{line}\n")
    assert message.startswith(f"ferry.toml: [{section}] {line}: cannot be used; allowed: ")


@pytest.mark.parametrize("line", ['tls_certificate = "/etc/ferry/tls.crt"', 'tls_key = "/etc/ferry/tls.key"'])
def test_a_certificate_and_its_key_go_together(line: str) -> None:
    assert "one does not work without the other" in complaint(f"[web]\n{line}\n")


@pytest.mark.parametrize(
    "url", ["mysql://db/ferry", "postgresql://db", "sqlite:///ferry.db", "postgresql://me:secret@db "]
)
def test_an_address_that_is_no_database_is_refused_and_not_repeated(url: str) -> None:
    message = complaint(f'[data]\nurl = "{url}"\n')
    assert message.startswith("ferry.toml: [data] url = (not shown): cannot be used; allowed: ") and url not in message


@pytest.mark.parametrize(
    "url",
    ["", "postgresql://ferry:pw@db.bank:5433/ferry?sslmode=verify-full", "postgresql:///ferry", "sqlite:////srv/f.db"],
)
def test_a_database_is_named_by_its_address(url: str) -> None:
    assert parse(f'[data]\nurl = "{url}"\npassword_file = "/etc/ferry/pw"\n').data.url == url


@pytest.mark.parametrize("rest", ["", 'proxy_header = "X-User"', 'trusted_proxies = ["10.0.0.1"]'])
def test_a_proxy_that_names_users_has_to_be_told_itself(rest: str) -> None:
    assert "needs proxy_header, and trusted_proxies" in complaint(f'[web]\nauth = "proxy"\n{rest}\n')
    web = parse('[web]\nauth = "proxy"\nproxy_header = "X-User"\ntrusted_proxies = ["::1", "10.1.2.3/16"]\n').web
    assert (web.auth, web.trusted_proxies) == ("proxy", ("::1", "10.1.2.3/16"))


def test_slots_and_precision_are_the_operators() -> None:
    engine = parse('[engine]\nslots = 64\nprecision = "int8"\n').engine
    assert (engine.slots, engine.precision) == (64, "int8")
    assert 'allowed: "float32" or "int8"' in complaint('[engine]\nprecision = "bfloat16"\n')


def test_a_threshold_of_trust_is_a_number_of_signatures() -> None:
    assert parse("[trust]\nthreshold = 16\n").trust.threshold == 16
    for value in ("0", "17", '"2"', "true"):
        assert "allowed: a whole number from 1 to 16" in complaint(f"[trust]\nthreshold = {value}\n")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('url = "ldap.example.org"', "cannot be used; allowed: an address such as"),
        ('url = "ldap://user@ldap.example.org"', "cannot be used"),
        ('url = "ldap://ldap.example.org"', "needs user_dn, or base"),
        ('user_dn = "uid=,dc=org"', "allowed: a text with {name} in it"),
        ('filter = "uid={name}"', "allowed: a filter with {name} in it"),
        ('url = "ldaps://l"\nbase = "dc=org"\nstart_tls = true', "ldaps:// has TLS from its start"),
        ('bind_dn = "cn=ferry"', "one does not work without the other"),
        ("timeout_s = 0", "a whole number from 1 to 60"),
        ('server = "ldap.example"', "no such key"),
    ],
)
def test_a_directory_that_cannot_be_asked_is_refused(lines: str, words: str) -> None:
    assert words in complaint(f"[ldap]\n{lines}\n")


def test_a_directory_is_an_address_and_where_people_are() -> None:
    ldap = parse('[ldap]\nurl = "ldaps://[fd00::7]:636"\nuser_dn = "uid={name},dc=org"\n').ldap
    assert (ldap.url, ldap.user_dn, ldap.filter) == ("ldaps://[fd00::7]:636", "uid={name},dc=org", "(uid={name})")


@pytest.mark.parametrize("listen", ["localhost:1", "chat.example.org:443", "0.0.0.0:65535", "[::]:8080"])
def test_names_and_both_kinds_of_addresses_can_be_listened_on(listen: str) -> None:
    assert parse(f'[web]\nlisten = "{listen}"\n').web.listen == listen


def test_what_is_no_toml_is_told_with_its_place() -> None:
    assert "(at line 1" in complaint("[web\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ferry.toml"
    path.write_bytes('[engine]\nsystem_prompt = "grüße"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        load(path)
    assert str(path) in caught.value.hint
