"""Photographs named by address, from a real server with TLS on the loopback."""

import asyncio
import datetime
import gzip
import logging
import socket
import ssl
import time
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug import Response

from serving import addresses
from serving.addresses import Addresses, is_public
from serving.errors import RefusedError
from tests.serving.conftest import ONE, plain, png, running
from tests.support.http import serving
from tests.support.waiting import wait_for

HOST = "photographs.example.org"
RED = png(plain(200))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with the key and the certificate of the host, which nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "host.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + found.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def host(certificate, monkeypatch):
    """The paths that a host was asked for. Its name leads to the loopback once, which counts as public."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    answers = {
        "/red.png": lambda: Response(RED),
        "/moved.png": lambda: Response(status=302, headers={"Location": "/red.png"}),
        "/none.png": lambda: Response(status=404),
        "/packed.png": lambda: Response(gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"}),
        "/slow.png": lambda: time.sleep(1) or Response(RED),
    }
    asked = []

    def answer(request):
        asked.append(request.path)
        return answers[request.path]()

    resolve, resolved = socket.getaddrinfo, []

    def once(name, *arguments, **options):
        if name == HOST:
            resolved.append(name)
            assert len(resolved) == 1, "the name was looked up again after its address was checked"
            name = "127.0.0.1"
        return resolve(name, *arguments, **options)

    with serving(answer, context) as url:
        monkeypatch.setattr(socket, "getaddrinfo", once)
        monkeypatch.setattr(addresses, "PORT", urlsplit(url).port)
        monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        yield asked


def fetch(*urls, hosts=(HOST,), largest=10**6):
    async def run():
        async with Addresses(hosts).fetched(urls, largest, 2 * largest) as contents:
            return contents

    return asyncio.run(run())


def refusal(*urls, **options):
    with pytest.raises(RefusedError) as refused:
        fetch(*urls, **options)
    return refused.value.status, str(refused.value)


def test_a_photograph_by_address_is_answered_after_the_files(host, tmp_path, models, caplog):
    url = f"https://{HOST}/red.png?signature=secret"
    with running(tmp_path / "home", models, fetch_hosts=(HOST,)) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        with caplog.at_level(logging.INFO):
            answer = service.predict(png(plain(0)), data={"urls": [url]})
        assert service.predict(*[RED] * 15, data={"urls": [url] * 2}).status_code == 413
        nothing = requests.post(f"{service.url}/predict", data={"other": "1"}, timeout=60)
    assert nothing.status_code == 422, nothing.text
    first, second = answer.json()["photographs"]
    assert (first["name"], second["name"]) == ("0.png", url)
    assert not first["faces"][0]["attributes"]["Red"]["present"]
    assert second["faces"][0]["attributes"]["Red"]["present"]
    logged = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert "secret" not in " ".join(logged)


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/red.png",
        f"https://user@{HOST}/red.png",
        f"https://{HOST}:8443/red.png",
        f"https://{HOST}./red.png",
        f"https://{HOST}.evil.example/red.png",
        "https://127.0.0.1/red.png",
        f"//{HOST}/red.png",
        "file:///etc/passwd",
        "https:///red.png",
    ],
)
def test_an_address_of_another_form_or_host_is_refused_unasked(host, url):
    assert refusal(url)[0] == 403
    assert not host


def test_no_address_is_fetched_unless_the_environment_names_hosts(host):
    status, message = refusal(f"https://{HOST}/red.png", hosts=())
    assert (status, message) == (403, "urls: this environment fetches none; send the photographs as files")
    assert not host


@pytest.mark.parametrize(
    ("path", "options", "status", "message"),
    [
        ("moved.png", {}, 422, f"urls: {HOST} answered 302"),
        ("none.png", {}, 422, f"urls: {HOST} answered 404"),
        ("red.png", {"largest": 100}, 413, f"urls: {HOST} sends more than 100 bytes"),
    ],
)
def test_an_answer_that_is_no_photograph_is_refused(host, path, options, status, message):
    assert refusal(f"https://{HOST}/{path}", **options) == (status, message)
    assert len(host) == 1  # a redirection is not followed


def test_a_photograph_is_not_unpacked(host):
    (content,) = fetch(f"https://{HOST}/packed.png")
    assert len(content) < 10**5


def test_a_slow_host_is_left(host, monkeypatch):
    monkeypatch.setattr(addresses, "SECONDS", 0.3)
    assert refusal(f"https://{HOST}/slow.png") == (422, "urls: not all there after 0 s")


def test_a_host_without_a_certificate_of_its_name_is_refused(host, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert refusal(f"https://{HOST}/red.png")[0] == 422
    assert not host


def test_a_name_that_leads_into_a_private_network_is_refused(host, monkeypatch):
    monkeypatch.setattr(addresses, "is_public", is_public)
    status, message = refusal(f"https://{HOST}/red.png")
    assert (status, message) == (403, f"urls: {HOST} leads into a private network")
    assert not host


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:21f:cb07::1"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"),
        *("224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
def test_addresses_of_other_networks_are_not(address):
    assert not is_public(address)
