"""Settings: read once from the environment, refused with a reason, listed in .env.example."""

import stat
from pathlib import Path

import msgspec
import pytest

from api.app import create_app
from api.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
SECRET = "s" * 32


def test_env_example_lists_exactly_the_settings_with_their_defaults() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert list(listed) == [name.upper() for name in Settings.__struct_fields__]
    assert Settings.from_env({**listed, "JWT_SECRET": SECRET}) == Settings(jwt_secret=SECRET)


def test_every_setting_in_env_example_has_a_comment_above_its_group() -> None:
    previous = ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        assert not (line and not line.startswith("#") and previous == ""), f"{line} has no comment"
        previous = line


def test_an_older_name_is_read_where_the_newer_is_not_set() -> None:
    def read(**given: str) -> Settings:
        return Settings.from_env({"JWT_SECRET": SECRET, **given})

    assert read(CELERY_CONCURRENCY="3").worker_concurrency == 3
    assert read(CELERY_CONCURRENCY="3", WORKER_CONCURRENCY="2").worker_concurrency == 2
    with pytest.raises(SettingsError, match=r"^CELERY_CONCURRENCY is 'x'"):
        read(CELERY_CONCURRENCY="x")


def test_lists_of_ports_are_read_by_commas() -> None:
    def read(ports: str) -> Settings:
        return Settings.from_env({"JWT_SECRET": SECRET, "WEBHOOK_PORTS": ports})

    assert read("443, 8443,").webhook_ports == (443, 8443)
    assert (read("").used_webhook_ports, read("8443").used_webhook_ports) == ((443, 80), (8443,))
    with pytest.raises(SettingsError, match=r"^WEBHOOK_PORTS is '443,https'"):
        read("443,https")
    with pytest.raises(SettingsError, match=r"^WEBHOOK_PORTS has 65536; expected ports from 1 to 65535"):
        read("443,65536")


def test_production_without_a_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="JWT_SECRET is missing"):
        Settings.from_env({"ENV": "production"})


def test_a_secret_of_31_bytes_is_refused() -> None:
    with pytest.raises(SettingsError, match="JWT_SECRET has 31 bytes"):
        Settings.from_env({"JWT_SECRET": SECRET[1:]})


def test_every_value_that_cannot_be_read_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"JWT_SECRET": SECRET, "PORT": "eighty", "ENV": "moon"})
    assert "PORT is 'eighty'" in str(caught.value)
    assert "ENV is 'moon'" in str(caught.value)


@pytest.mark.parametrize("name", ["MAX_BODY_BYTES", "MAX_LOAN_MONTHS", "CALCULATION_THREAD_POOL_SIZE", "PORT"])
def test_values_below_one_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 0"):
        Settings.from_env({"JWT_SECRET": SECRET, name: "0"})


@pytest.mark.parametrize("name", ["MAX_BODY_BYTES", "CALCULATION_THREAD_POOL_SIZE", "PORT"])
def test_negative_values_are_refused_from_the_environment_and_at_start(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is -2"):
        Settings.from_env({"JWT_SECRET": SECRET, name: "-2"})
    with pytest.raises(SettingsError, match=f"{name} is -2"):
        create_app(msgspec.structs.replace(Settings(jwt_secret=SECRET), **{name.lower(): -2}))


def test_the_service_does_not_start_on_bad_settings() -> None:
    with pytest.raises(SettingsError):
        create_app(Settings(jwt_secret="short"))


def test_a_development_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first = Settings.from_env({"STATE_DIR": str(folder)})
    second = Settings.from_env({"STATE_DIR": str(folder)})
    assert first.jwt_secret == second.jwt_secret
    assert len(first.jwt_secret) >= 32
    assert stat.S_IMODE((folder / "jwt_secret").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "jwt_secret"]
    assert (folder / ".gitignore").read_text() == "*\n"


PRODUCTION = {
    "ENV": "production",
    "JWT_SECRET": "Zk3nV0x8bQf7Jd2LsT5yHw9RmC4uPg6E",
    "ALLOWED_HOSTS": "api.example.com",
    "REDIS_URL": "redis://redis:6379/0",
    "DATABASE_URL": "postgresql://cashflow@db/cashflow",
    "OBJECT_STORE": "s3://objects",
    "BACKUP_STORE": "s3://backups",
}


def test_a_production_with_all_that_it_needs_starts() -> None:
    settings = Settings.from_env(PRODUCTION | {"CORS_ORIGINS": "https://a.example, https://b.example:8443"})
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert not settings.introspection
    assert Settings.from_env(PRODUCTION | {"GRAPHQL_INTROSPECTION": "true"}).introspection
    assert Settings(jwt_secret=SECRET).introspection


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"JWT_SECRET": "x" * 40}, "JWT_SECRET has 1 distinct"),
        ({"JWT_SECRET": "change-me-change-me-change-me-now"}, "JWT_SECRET contains 'change-me'"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET has 5 bytes"),
        ({"JWT_SECRET": ""}, "JWT_SECRET is missing"),
        ({"JWT_SECRET_PREVIOUS": "short"}, "JWT_SECRET_PREVIOUS has 5 bytes"),
        ({"DEBUG": "true"}, "DEBUG is true"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is missing"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS is '*'"),
        ({"ALLOWED_HOSTS": "https://api.example.com"}, "ALLOWED_HOSTS has"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS is '*'"),
        ({"CORS_ORIGINS": "https://a.example/"}, "CORS_ORIGINS has 'https://a.example/'"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES is 0.0.0.0/0"),
        ({"TRUSTED_PROXIES": "nginx"}, "TRUSTED_PROXIES has 'nginx'"),
        ({"REDIS_URL": ""}, "REDIS_URL is missing"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is missing"),
        ({"DATABASE_URL": "sqlite:///cashflow.db"}, "DATABASE_URL is SQLite"),
        ({"OBJECT_STORE": ""}, "OBJECT_STORE is missing"),
        ({"BACKUP_STORE": ""}, "BACKUP_STORE is missing"),
        ({"REDIS_URL": "http://redis"}, "REDIS_URL is no address"),
        ({"RATE_LIMIT_REQUESTS": "0"}, "RATE_LIMIT_REQUESTS is 0"),
        ({"JWT_LEEWAY": "3600"}, "JWT_LEEWAY is 3600"),
        ({"JWT_DEFAULT_ROLE": "root"}, "JWT_DEFAULT_ROLE is 'root'"),
        ({"TLS_CERT_FILE": "/none.pem"}, "TLS_KEY_FILE is missing"),
        ({"JWT_SECRET": "", "JWT_JWKS": "/none.json"}, "JWT_JWKS is '/none.json', which is no file"),
    ],
)
def test_production_refuses_what_development_allows(change: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(PRODUCTION | change)
    assert any(line.startswith(told) for line in str(caught.value).splitlines()), str(caught.value)


def test_everything_that_is_wrong_is_named_in_one_message() -> None:
    environ = {"ENV": "production", "JWT_SECRET": "short", "DEBUG": "true", "CORS_ORIGINS": "*", "PORT": "eighty"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    named = [line.split()[0] for line in str(caught.value).splitlines()]
    assert sorted(named) == [
        "ALLOWED_HOSTS",
        "BACKUP_STORE",
        "CORS_ORIGINS",
        "DATABASE_URL",
        "DEBUG",
        "JWT_SECRET",
        "OBJECT_STORE",
        "PORT",
        "REDIS_URL",
    ]


def test_a_refusal_repeats_no_secret() -> None:
    environ = {"ENV": "production", "JWT_SECRET": "hunter2hunter2", "REDIS_URL": "ftp://:hunter2@host"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert "hunter2" not in str(caught.value)
