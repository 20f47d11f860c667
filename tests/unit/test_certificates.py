"""Certificates in files: what is told of those that cannot be used, and what is kept of old ones."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from msgspec import structs

from gateway.cli.main import cli
from gateway.runtime.certificates import (
    FILE_MAX,
    Keeper,
    Unusable,
    not_valid_at,
    read_authorities,
    read_certificate,
)
from gateway.runtime.configuration import BadConfiguration, load, parse, refused_changes
from gateway.runtime.settings import (
    CertificateSettings,
    EntrypointSettings,
    GivenSettings,
    Settings,
    TlsSettings,
    UpstreamTlsSettings,
    from_json,
    to_json,
)
from tests.support.certificates import authority, issue

DAY = 86400.0


def settings_with(*files: CertificateSettings, ca: str | None = None) -> Settings:
    return Settings(
        entrypoints={"public": EntrypointSettings(":1", tls=TlsSettings(files))} if files else {},
        upstream_tls=UpstreamTlsSettings(ca),
    )


def unusable(files: CertificateSettings) -> tuple[str, str]:
    with pytest.raises(Unusable) as found:
        read_certificate(files)
    return found.value.field, found.value.message


# -- reading


@pytest.mark.parametrize("key_type", trustme.KeyType)
def test_names_and_times_are_read(tmp_path: Path, key_type: trustme.KeyType) -> None:
    names = ("A.test", "*.a.test", "10.0.0.1", "::1")
    found = read_certificate(issue(tmp_path, *names, key_type=key_type, days=30))
    assert {n.replace("0:0:0:0:0:0:0:1", "::1") for n in found.names} == {
        "a.test",
        "*.a.test",
        "10.0.0.1",
        "::1",
    }
    assert 29 * DAY < found.not_after - found.not_before - DAY < 31 * DAY


def test_certificate_and_key_may_stand_in_one_file(tmp_path: Path) -> None:
    apart = issue(tmp_path, "a.test")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(str(apart.key)).read_bytes() + Path(apart.cert).read_bytes())
    assert read_certificate(CertificateSettings(str(both))).names == ("a.test",)


def test_a_certificate_that_has_expired_is_read_all_the_same(tmp_path: Path) -> None:
    found = read_certificate(issue(tmp_path, "a.test", days=-5))
    assert "expired on " in (not_valid_at(found, found.not_after + 1) or "")
    assert "not valid before " in (not_valid_at(found, found.not_before - 1) or "")
    assert not_valid_at(found, found.not_before + 1) is None


def test_each_thing_that_is_wrong_is_told_with_its_file(tmp_path: Path) -> None:
    good, other = issue(tmp_path, "a.test"), issue(tmp_path, "b.test")
    assert good.key is not None and other.key is not None
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n")
    old_encrypted = tmp_path / "old.key"
    old_encrypted.write_text("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n")
    damaged = tmp_path / "damaged.pem"
    text = Path(good.cert).read_text()
    damaged.write_text(text[:200] + "!!" + text[202:])
    der = tmp_path / "cert.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(text))
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    endless = tmp_path / "endless.pem"
    endless.write_bytes(b"x" * (FILE_MAX + 1))
    for cert, key, field, words in (
        (str(tmp_path / "none"), good.key, "cert", "none cannot be read: No such file"),
        (str(tmp_path), good.key, "cert", "cannot be read: Is a directory"),
        (good.cert, str(tmp_path / "none"), "key", "none cannot be read"),
        (good.key, good.key, "cert", "holds no certificate in PEM form"),
        (str(der), good.key, "cert", "holds no certificate in PEM form"),
        (str(damaged), good.key, "cert", "damaged.pem and its key cannot be used"),
        (str(pipe), good.key, "cert", "pipe.pem cannot be read: it is no file"),
        ("/dev/zero", good.key, "cert", "/dev/zero cannot be read: it is no file"),
        (str(endless), good.key, "cert", "more than 1 MiB"),
        ("a\0b", good.key, "cert", "no path"),
        (good.cert, good.cert, "key", "holds no private key"),
        (good.cert, None, "key", "give the key's own file with `key`"),
        (good.cert, other.key, "key", f"does not belong to the certificate in {good.cert}"),
        (good.cert, str(encrypted), "key", "is encrypted; store it without a password"),
        (good.cert, str(old_encrypted), "key", "is encrypted"),
    ):
        found = unusable(CertificateSettings(cert, key))
        assert found[0] == field, found
        assert words in found[1], found


def test_authorities_must_be_certificates(tmp_path: Path) -> None:
    good = tmp_path / "ca.pem"
    good.write_bytes(authority().cert_pem.bytes())
    assert "BEGIN CERTIFICATE" in read_authorities(str(good))
    good.write_text("nothing")
    with pytest.raises(Unusable, match="holds no certificates in PEM form"):
        read_authorities(str(good))


def test_a_key_is_in_no_representation(tmp_path: Path) -> None:
    found = read_certificate(issue(tmp_path, "a.test"))
    given = GivenSettings(certificates=(found,))
    assert "PRIVATE" not in repr(found) + repr(given) + str(given)


# -- in a configuration


def configuration(tmp_path: Path, certificates: str, more: str = "") -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "entrypoints:\n  public:\n    listen: ':8443'\n    tls:\n      certificates:\n"
        f"{certificates}{more}"
    )
    return file


def test_problems_of_files_have_their_line_and_place(tmp_path: Path) -> None:
    good, other = issue(tmp_path, "a.test"), issue(tmp_path, "b.test")
    file = configuration(
        tmp_path,
        f"        - {{cert: {good.cert}, key: {good.key}}}\n"
        f"        - {{cert: {good.cert}, key: {other.key}}}\n"
        f"        - {{cert: nowhere.pem, key: {other.key}}}\n",
        "upstream_tls:\n  ca: nowhere.pem\n",
    )
    with pytest.raises(BadConfiguration) as bad:
        load(file)
    place = "entrypoints.public.tls.certificates"
    assert [(p.line, p.place) for p in bad.value.problems] == [
        (7, f"{place}[1].key"),
        (8, f"{place}[2].cert"),
        (10, "upstream_tls.ca"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{certificates: []}", "tls.certificates", "a list of at least 1"),
        ("{}", "tls.certificates", "needed here"),
        ("{certificates: [{crt: a}]}", "tls.certificates[0].crt", 'did you mean "cert"?'),
        ("{certificates: [{cert: ''}]}", "tls.certificates[0].cert", "path of a PEM file"),
        ("{certificates: [{cert: a}, {cert: a}]}", "tls.certificates[1]", "further up"),
        ("{certificates: [{cert: a}], minimum: '1.1'}", "tls.minimum", '"1.2" or "1.3"'),
        ("{certificates: [{cert: a}], hsts: {maxage: 1}}", "tls.hsts.maxage", '"max_age"'),
        ("{certificates: [{cert: a}]}, redirect_https: 443", "redirect_https", "speaks https"),
        ("null, redirect_https: 0", "redirect_https", "at least 1"),
    ],
)
def test_what_is_written_wrong_is_told(text: str, place: str, words: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        parse(f"entrypoints: {{public: {{listen: ':1', tls: {text}}}}}")
    found = {p.place: p.message for p in bad.value.problems}
    assert words in found[f"entrypoints.public.{place}"]


def test_gateway_check_tells_of_expired_certificates_and_others_start_with_them(
    tmp_path: Path,
) -> None:
    gone, good = issue(tmp_path, "a.test", days=-1), issue(tmp_path, "b.test")
    file = configuration(
        tmp_path,
        f"        - {{cert: {good.cert}, key: {good.key}}}\n"
        f"        - {{cert: {gone.cert}, key: {gone.key}}}\n",
    )
    assert load(file).entrypoints["public"].tls is not None
    result = CliRunner().invoke(cli, ["check", "-c", str(file)])
    assert result.exit_code == 1
    said = result.stderr.replace("\n", "")
    assert "line 7: entrypoints.public.tls.certificates[1].cert: the certificate in" in said
    assert "expired on" in said
    issue(tmp_path, "a.test")
    assert CliRunner().invoke(cli, ["check", "-c", str(file)]).exit_code == 0


def test_tls_can_be_changed_by_a_hup_and_addresses_cannot() -> None:
    tls = TlsSettings((CertificateSettings("a"),))
    plain = Settings(entrypoints={"a": EntrypointSettings(":1")})
    secure = Settings(entrypoints={"a": EntrypointSettings(":1", tls=tls)})
    moved = Settings(entrypoints={"a": EntrypointSettings(":2", tls=tls)})
    assert refused_changes(plain, secure) == ()
    assert refused_changes(secure, moved) == ("entrypoints",)


# -- keeping


def taken(*files: CertificateSettings, ca: str | None = None) -> tuple[Keeper, Settings]:
    settings = settings_with(*files, ca=ca)
    keeper = Keeper()
    keeper.take(settings)
    return keeper, settings


def look(keeper: Keeper, *, begin: float = 100.0, looks: int = 3) -> list[bool]:
    return [keeper.look(begin + 2 * n) for n in range(looks)]


def test_workers_get_contents_and_the_control_process_gets_no_key(tmp_path: Path) -> None:
    keeper, settings = taken(issue(tmp_path, "a.test"), issue(tmp_path, "b.test"))
    for_worker = from_json(to_json(keeper.for_worker(settings)))
    assert isinstance(for_worker, GivenSettings)
    assert [c.names for c in for_worker.certificates] == [("a.test",), ("b.test",)]
    assert all("PRIVATE KEY" in c.private_key for c in for_worker.certificates)
    assert b"PRIVATE KEY" not in to_json(keeper.for_control(settings))


def test_new_files_are_taken_when_they_have_been_left_alone(tmp_path: Path) -> None:
    files = issue(tmp_path, "a.test")
    keeper, settings = taken(files)
    assert look(keeper) == [False, False, False]
    issue(tmp_path, "a.test", "new.test", file="a.test")
    assert look(keeper, begin=200) == [False, True, False]
    assert keeper.for_worker(settings).certificates[0].names == ("a.test", "new.test")


def test_files_are_looked_at_once_a_second(tmp_path: Path) -> None:
    keeper, _ = taken(issue(tmp_path, "a.test"))
    keeper.look(100.0)
    issue(tmp_path, "a.test", "new.test", file="a.test")
    assert [keeper.look(100.0 + n / 10) for n in range(15)] == [False] * 15
    assert keeper.look(102.0)


def test_a_certificate_whose_key_comes_later_is_taken_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = issue(tmp_path, "a.test")
    assert files.key is not None
    keeper, settings = taken(files)
    old_key = Path(files.key).read_bytes()
    issue(tmp_path, "a.test", "new.test", file="a.test")
    new_key = Path(files.key).read_bytes()
    Path(files.key).write_bytes(old_key)
    assert not keeper.look(200)
    Path(files.key).write_bytes(new_key)
    assert look(keeper, begin=202)[:2] == [False, True]
    assert keeper.for_worker(settings).certificates[0].names == ("a.test", "new.test")
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


@pytest.mark.parametrize("harm", ["damaged", "key of another", "gone", "unreadable", "expired"])
def test_what_is_broken_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    files = issue(tmp_path, "a.test")
    assert files.key is not None
    keeper, settings = taken(files)
    before = keeper.for_worker(settings)
    match harm:
        case "damaged":
            Path(files.cert).write_text("-----BEGIN CERTIFICATE-----\nx\n")
        case "key of another":
            other = issue(tmp_path, "b.test")
            Path(files.key).write_bytes(Path(str(other.key)).read_bytes())
        case "gone":
            os.unlink(files.cert)
        case "unreadable":
            os.unlink(files.key)
            os.mkdir(files.key)
        case "expired":
            issue(tmp_path, "a.test", days=-1)
    assert look(keeper, looks=6) == [False, True, False, False, False, False]
    assert keeper.for_worker(settings) == before
    told = keeper.for_control(settings).certificates
    assert told[0].problem is not None
    assert told[0].not_after == before.certificates[0].not_after, "of the one that is shown"
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("not taken, the one before stays in use: ")
    if harm == "unreadable":
        os.rmdir(files.key)
    issue(tmp_path, "a.test", "new.test", file="a.test")
    assert look(keeper, begin=300) == [False, True, False]
    assert keeper.for_control(settings).certificates[0].problem is None
    assert "new.test" in keeper.for_worker(settings).certificates[0].names


def test_an_expired_certificate_is_shown_when_there_is_no_better_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, settings = taken(issue(tmp_path, "a.test", days=-1))
    assert keeper.for_worker(settings).certificates
    assert "expired on" in caplog.text


def test_taking_new_settings_reads_at_once_and_keeps_what_broke(tmp_path: Path) -> None:
    one, two = issue(tmp_path, "a.test"), issue(tmp_path, "b.test")
    keeper, _ = taken(one)
    issue(tmp_path, "a.test", "new.test", file="a.test")
    more = settings_with(one, two)
    keeper.take(more)
    names = [c.names for c in keeper.for_worker(more).certificates]
    assert names == [("a.test", "new.test"), ("b.test",)]
    Path(one.cert).write_text("broken")
    keeper.take(more)
    assert [c.names for c in keeper.for_worker(more).certificates] == names
    keeper.take(settings_with(two))
    assert [c.names for c in keeper.for_worker(more).certificates] == names[1:]


def test_authorities_are_kept_likewise(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority().cert_pem.bytes())
    keeper, settings = taken(ca=str(file))
    before = keeper.for_worker(settings).authorities
    assert before is not None
    file.write_text("broken")
    assert look(keeper) == [False, True, False]
    assert keeper.for_worker(settings).authorities == before
    file.write_bytes(trustme.CA().cert_pem.bytes())
    assert look(keeper, begin=300) == [False, True, False]
    assert keeper.for_worker(settings).authorities != before
    none = structs.replace(settings, upstream_tls=UpstreamTlsSettings())
    keeper.take(none)
    assert keeper.for_worker(none).authorities is None
