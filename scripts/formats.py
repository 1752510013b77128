"""The formats of wbsync, read strictly, as format/ describes them: bytes in, values out, or Refused.

Written from the pages alone, for reader.py, which says how to use it. Sections are named for their pages; a value is what
its CDDL shows, in dicts, lists, ints and bytes.
"""

import base64
import hashlib
import hmac
import math
import re
import struct

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

U32, I63, U64 = 2**32 - 1, 2**63 - 1, 2**64 - 1
MIB = 1024 * 1024


class Refused(Exception):
    """Bytes that a format page doesn't allow."""


def must(holds, message):
    if not holds:
        raise Refused(message)


# --- cbor.md -------------------------------------------------------------------------------------------------------


class Cbor:
    """A strict reader of one buffer; `at` is the offset of what is read next."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        must(count <= len(self.data) - self.at, f"byte {self.at}: the input ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def major(self):
        must(self.at < len(self.data), f"byte {self.at}: the input ends too early")
        return self.data[self.at] >> 5

    def head(self, major, bound):
        start, info = self.at, self.take(1)[0]
        must(info >> 5 == major, f"byte {start}: wanted major type {major}")
        number = info & 31
        if number >= 24:
            must(number <= 27, f"byte {start}: an indefinite or reserved length")
            width = 1 << (number - 24)
            number = int.from_bytes(self.take(width), "big")
            must(number >= (24 if width == 1 else 1 << (width * 4)), f"byte {start}: not in its shortest form")
        must(number <= bound, f"byte {start}: {number} exceeds the bound of {bound}")
        return number

    def uint(self, low=0, high=U64):
        start, number = self.at, self.head(0, high)
        must(number >= low, f"byte {start}: {number} is below {low}")
        return number

    def integer(self):
        return -1 - self.head(1, I63) if self.major() == 1 else self.head(0, U64)

    def bytes(self, low=0, high=U64):
        start, count = self.at, self.head(2, high)
        must(count >= low, f"byte {start}: {count} bytes, fewer than {low}")
        return self.take(count)

    def text(self, low=0, high=U64):
        start, count = self.at, self.head(3, high)
        must(count >= low, f"byte {start}: {count} bytes, fewer than {low}")
        try:
            return self.take(count).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(f"byte {start}: a text is not UTF-8") from None

    def count(self, major, low, high):
        """The count of an array (4) or a map (5)."""
        start, count = self.at, self.head(major, high)
        must(count >= low, f"byte {start}: {count} items, fewer than {low}")
        must(count * (major - 3) <= len(self.data) - self.at, f"byte {start}: more items than bytes")
        return count

    def entries(self, low, high, key, value):
        """A map with keys of our choice."""
        result, last = {}, None
        for _ in range(self.count(5, low, high)):
            start, name = self.at, key(self)
            order = (len(name.encode()), name.encode())
            must(last is None or last < order, f"byte {start}: map keys don't ascend")
            last, result[name] = order, value(self)
        return result

    def float(self):
        start, width = self.at, {0xF9: 2, 0xFA: 4, 0xFB: 8}[self.take(1)[0]]
        raw = self.take(width)
        number = struct.unpack({2: ">e", 4: ">f", 8: ">d"}[width], raw)[0]
        must(short_float(number) == self.data[start:self.at], f"byte {start}: a float is not in its shortest form")
        return number

    def simple(self):
        start, byte = self.at, self.take(1)[0]
        must(byte in (0xF4, 0xF5, 0xF6), f"byte {start}: wanted an item that we use")
        return {0xF4: False, 0xF5: True, 0xF6: None}[byte]

    def null(self):
        if self.at < len(self.data) and self.data[self.at] == 0xF6:
            self.at += 1
            return True
        return False

    def plain(self):
        """An item that is neither array nor map."""
        major = self.major()
        must(major in (0, 1, 2, 3, 7), f"byte {self.at}: wanted an item that we use")
        if major == 7:
            return self.float() if self.data[self.at] in (0xF9, 0xFA, 0xFB) else self.simple()
        return {0: self.integer, 1: self.integer, 2: self.bytes, 3: self.text}[major]()

    def anything(self, depth=16):
        if self.major() not in (4, 5):
            return self.plain()
        must(depth > 0, f"byte {self.at}: nested too deeply")
        if self.major() == 4:
            return [self.anything(depth - 1) for _ in range(self.count(4, 0, U64))]
        return self.entries(0, U64, lambda r: r.text(0, 255), lambda r: r.anything(depth - 1))

    def end(self):
        must(self.at == len(self.data), f"byte {self.at}: bytes follow the end")


def short_float(number):
    if math.isnan(number):
        return b"\xf9\x7e\x00"
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            raw = struct.pack(form, number)
        except OverflowError:
            continue
        if struct.unpack(form, raw)[0] == number:
            return first + raw
    return b"\xfb" + struct.pack(">d", number)


def encoded(value):
    """Canonical CBOR of ints, floats, bytes, texts, lists, maps, booleans and None."""
    if value is None or value is True or value is False:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)
    if isinstance(value, float):
        return short_float(value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return cbor_head(4, len(value)) + b"".join(map(encoded, value))
    entries = sorted((encoded(key), encoded(item)) for key, item in value.items())
    return cbor_head(5, len(entries)) + b"".join(key + item for key, item in entries)


def cbor_head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    width = next(width for width in (1, 2, 4, 8) if number < 1 << (8 * width))
    return bytes([major << 5 | 24 + width.bit_length() - 1]) + number.to_bytes(width, "big")


# The CDDL of the pages as functions from a reader to a value.


def uint(low=0, high=U64):
    return lambda r: r.uint(low, high)


def blob(low, high=None):
    return lambda r: r.bytes(low, low if high is None else high)


def text(low, high, pattern=None):
    def read(r):
        start, value = r.at, r.text(low, high)
        must(pattern is None or re.fullmatch(pattern, value), f"byte {start}: {value!r} isn't allowed here")
        return value
    return read


def boolean(r):
    start, value = r.at, r.simple()
    must(value is not None, f"byte {start}: wanted true or false")
    return value


def maybe(read):
    return lambda r: None if r.null() else read(r)


def many(low, high, read):
    return lambda r: [read(r) for _ in range(r.count(4, low, high))]


def items(*reads):
    """An array of these items."""
    return lambda r: [read(r) for read in reads[:r.count(4, len(reads), len(reads))]]


def shape(**fields):
    """A map of these keys in this order."""
    def read(r):
        r.count(5, len(fields), len(fields))
        result = {}
        for name, value in fields.items():
            start = r.at
            must(r.text(0, 255) == name, f"byte {start}: wanted the key {name}")
            result[name] = value(r)
        return result
    return read


def whole(read, data):
    reader = Cbor(data)
    value = read(reader)
    reader.end()
    return value


def ascending(values, what):
    must(all(a < b for a, b in zip(values, values[1:])), f"{what} don't ascend strictly")


ID, NUMBER, TIME = blob(32), uint(1, I63), uint(0, I63)
FORMAT, INCARNATION = uint(1, 1), uint(0, U32)
NAME = r"[a-z][a-z0-9_-]{0,63}"
DATASET = text(1, 64, NAME)
TREE = text(1, 65, NAME + r"\+?")  # a dataset or its overlay
FIELD = text(1, 64, r"[A-Za-z0-9_-]+")

# --- keys: hashes, signatures, age ---------------------------------------------------------------------------------


def name_of(data):
    return blake3(data).digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


def derived(context, material):
    return blake3(material, derive_key_context=context).digest()


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def small_order(point):
    """Whether a point's y is 0 (order 4), 1 or -1 (1 or 2), or that of a point whose double has y = 0 (8)."""
    y = (int.from_bytes(point, "little") & (2**255 - 1)) % P
    return y * (y * y - 1) * (D * y**4 + 2 * y * y - 1) % P == 0


def sshsig(blob_bytes):
    """The parts of a signature in the one form of document.md: public key, namespace, signature."""
    at = 6

    def string():
        nonlocal at
        must(at + 4 <= len(blob_bytes), "the signature is cut short")
        length = int.from_bytes(blob_bytes[at:at + 4], "big")
        must(at + 4 + length <= len(blob_bytes), "the signature is cut short")
        at += 4 + length
        return blob_bytes[at - length:at]

    def typed(size):
        inner = string()
        start = b"\0\0\0\x0bssh-ed25519" + size.to_bytes(4, "big")
        must(inner.startswith(start) and len(inner) == len(start) + size, "not an ssh-ed25519 key or signature")
        return inner[len(start):]

    must(blob_bytes[:6] == b"SSHSIG" and blob_bytes[6:10] == b"\0\0\0\1", "not an SSHSIG of version 1")
    at = 10
    key, namespace = typed(32), string()
    must(string() == b"", "reserved isn't empty")
    must(string() == b"sha512", "another hash than sha512")
    signature = typed(64)
    must(at == len(blob_bytes), "bytes follow the signature")
    return key, namespace, signature


def open_document(kind, data, signer=None):
    """Verifies a signed document and returns its payload and signer."""
    must(len(data) <= 4 * MIB, "the document is too long")
    payload, blob_bytes = whole(items(blob(0, 4 * MIB), blob(0, 512)), data)
    must(len(payload) <= (32 * 1024 if kind == "card" else 4 * MIB - 1024), "the payload is too long")
    key, namespace, signature = sshsig(blob_bytes)
    must(signer is None or key == signer, f"{key.hex()} signed it, not {(signer or b'').hex()}")
    must(namespace == f"{kind}@wbsync".encode(), f"signed as {namespace!r}")
    must(not small_order(key) and not small_order(signature[:32]), "a point of small order")
    strings = (namespace, b"", b"sha512", hashlib.sha512(payload).digest())
    message = b"SSHSIG" + b"".join(len(part).to_bytes(4, "big") + part for part in strings)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused("the signature does not match") from None
    return payload, key


def bech32(value, prefix):
    """The 32 bytes of an age key or recipient in lower case (BIP 173)."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    must(value.startswith(prefix + "1") and all(char in alphabet for char in value[len(prefix) + 1:]), "no age key")
    digits = [alphabet.index(char) for char in value[len(prefix) + 1:]]
    state = 1
    for digit in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + digits:
        top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ digit
        for bit, mask in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= mask if top >> bit & 1 else 0
    must(state == 1 and len(digits) == 58, "no age key: its checksum or length is wrong")
    number = 0
    for digit in digits[:52]:
        number = number << 5 | digit
    must(number & 15 == 0, "no age key: bits are left over")
    return (number >> 4).to_bytes(32, "big")


def recipient(r):
    value = r.text(62, 62)
    bech32(value, "age")
    return value


class Secret:
    """An age X25519 identity, as age prints it."""

    def __init__(self, spelled):
        must(spelled == spelled.upper(), "no age secret key: it is not in upper case")
        self.key = X25519PrivateKey.from_private_bytes(bech32(spelled.lower(), "age-secret-key-"))
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def belongs_to(self, spelled):
        return self.public == bech32(spelled, "age")


class NoKey(Refused):
    """An age file for somebody else."""


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def base64_strict(value):
    try:
        raw = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        raise Refused("no base64 in an age header") from None
    must(base64.b64encode(raw).rstrip(b"=") == value, "base64 in an age header isn't canonical")
    return raw


def age_open(data, secrets):
    """Opens an age v1 file (age-encryption.org/v1) with the first secret that fits."""
    lines, at = [], 0
    while not (lines and lines[-1].startswith(b"---")):
        end = data.find(b"\n", at)
        must(0 <= end < 16384, "no age header ends within 16 KiB")
        lines.append(data[at:end])
        at = end + 1
    must(lines[0] == b"age-encryption.org/v1", "no age file of version 1")
    stanzas, line = [], 1
    while lines[line].startswith(b"-> "):
        arguments, body = lines[line][3:].split(b" "), b""
        line += 1
        while True:
            must(len(lines[line]) <= 64 and not lines[line].startswith(b"-"), "an age stanza is cut short")
            body += lines[line]
            line += 1
            if len(lines[line - 1]) < 64:
                break
        stanzas.append((arguments, base64_strict(body)))
    must(line == len(lines) - 1 and lines[line].startswith(b"--- "), "no age header")
    file_key = next((key for secret in secrets for stanza in stanzas if (key := unwrapped(stanza, secret))), None)
    if file_key is None:
        raise NoKey("no key opens it")
    mac = hmac.digest(hkdf(file_key, b"", b"header"), b"\n".join(lines[:-1]) + b"\n---", "sha256")
    must(hmac.compare_digest(mac, base64_strict(lines[-1][4:])), "the age header was altered")
    must(len(data) >= at + 32, "the age file is cut short")
    cipher = ChaCha20Poly1305(hkdf(file_key, data[at:at + 16], b"payload"))
    at, plain, number = at + 16, [], 0
    while True:
        chunk = data[at:at + 65536 + 16]
        at += len(chunk)
        last = at == len(data)
        must(len(chunk) > 16 or (last and number == 0), "the age file is cut short")
        try:
            plain.append(cipher.decrypt(number.to_bytes(11, "big") + bytes([last]), chunk, None))
        except InvalidTag:
            raise Refused("the age file was altered or cut short") from None
        if last:
            return b"".join(plain)
        number += 1


def unwrapped(stanza, secret):
    arguments, body = stanza
    if arguments[0] != b"X25519":
        return None
    must(len(arguments) == 2 and len(body) == 32, "a malformed age stanza")
    share = base64_strict(arguments[1])
    must(len(share) == 32, "a malformed age stanza")
    try:
        shared = secret.key.exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError:
        raise Refused("a malformed age stanza") from None
    wrap = hkdf(shared, share + secret.public, b"age-encryption.org/v1/X25519")
    try:
        return ChaCha20Poly1305(wrap).decrypt(bytes(12), body, None)
    except InvalidTag:
        return None


def unpacked(data, bound=64 * MIB):
    """The content of zstd frames, skippable ones giving nothing, and whether they are padded as Padmé says."""
    at, plain, size, first = 0, [], 0, None
    while at < len(data):
        if re.match(rb"[\x50-\x5f]\x2a\x4d\x18", data[at:at + 4], re.S):
            must(at + 8 <= len(data), "a skippable frame is cut short")
            at += 8 + int.from_bytes(data[at + 4:at + 8], "little")
            must(at <= len(data), "a skippable frame is cut short")
            continue
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            must(at < len(data), "a zstd frame is cut short")
            try:
                # Little at a time, so that a bomb is seen before it has filled the memory.
                piece = frame.decompress(data[at:at + 4096])
            except zstandard.ZstdError as error:
                raise Refused(f"no zstd frame: {error}") from None
            at += min(4096, len(data) - at) - len(frame.unused_data)
            size += len(piece)
            must(size <= bound, f"it holds more than {bound} bytes")
            plain.append(piece)
        first = first or at
    return b"".join(plain), len(data) == padme((first or 0) + 8)


def padme(length):
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


# --- card.md, manifest.md, head.md, schema.md ----------------------------------------------------------------------


def card(data, signer=None):
    payload, key = open_document("card", data, signer)
    value = whole(shape(
        name=text(1, 64, NAME), urls=many(0, 16, text(1, 1024, r"[^\s\x00-\x1f\x7f-\x9f]*")),
        format=FORMAT, instance=ID, recipient=recipient, incarnation=INCARNATION), payload)
    must(value["instance"] == key, "the card is another instance's")
    return value


INSTANCES = many(0, 1024, ID)


def epoch(r):
    r.count(5, 3, 3)
    start, key = r.at, r.text(0, 255)
    must(key in ("clear", "grants"), f"byte {start}: wanted clear or grants")
    value = {key: text(0, 128)(r) if key == "clear" else many(1, 4096, items(ID, blob(0, 4096)))(r)}
    for name, read in (("number", uint(1, U32)), ("recipient", recipient)):
        must(r.text(0, 255) == name, f"byte {r.at}: wanted the key {name}")
        value[name] = read(r)
    ascending([grant[0] for grant in value.get("grants", [])], "grants")
    return value


def manifest(data, signer=None):
    payload, key = open_document("manifest", data, signer)
    value = whole(shape(
        seq=NUMBER, prev=maybe(ID), salt=blob(16), time=TIME, scope=blob(16), epochs=many(1, 1024, epoch),
        format=FORMAT, former=INSTANCES, origin=ID, public=boolean, details=blob(0, 1056768), writers=INSTANCES),
        payload)
    origin, writers, epochs = value["origin"], value["writers"], value["epochs"]
    must(origin == key, "its origin isn't its signer")
    must((value["prev"] is None) == (value["seq"] == 1), "prev is null if and only if seq is 1")
    must(value["scope"] == derived("wbsync 2026 scope id v1", origin + value["salt"])[:16], "scope isn't the origin's")
    ascending([one["number"] for one in epochs], "epochs")
    ascending(writers, "writers")
    ascending(value["former"], "former writers")
    must(all(("clear" in one) == value["public"] for one in epochs), "epochs are clear if and only if it is public")
    must(origin not in writers + value["former"], "the origin is among the writers")
    must(not set(writers) & set(value["former"]), "a former writer is a writer")
    if not value["public"]:
        granted = [{grant[0] for grant in one["grants"]} for one in epochs]
        must(all(origin in one for one in granted), "the origin has no grant")
        must(granted[-1].issuperset(writers), "a writer has no grant")
    return value


def unlocked(value, instance, secrets):
    """Our epochs' secrets by number, and the details. With `instance` its grants must open, else any that does counts."""
    keys = {}
    for one in value["epochs"]:
        spelled = one.get("clear")
        for reader, sealed in one.get("grants", []):
            if spelled is None and instance in (None, reader):
                try:
                    spelled = age_open(sealed, secrets)
                    must(len(spelled) <= 128, "a grant is too long")
                    spelled = spelled.decode("ascii", "replace")
                except NoKey:
                    must(instance is None, f"our grant of epoch {one['number']} is sealed to somebody else")
        if spelled is not None:
            keys[one["number"]] = Secret(spelled)
            must(keys[one["number"]].belongs_to(one["recipient"]), f"the secret of epoch {one['number']} is another's")
    newest = keys.get(value["epochs"][-1]["number"])
    if newest is None:
        raise NoKey("no grant in the newest epoch is ours")
    plain = value["details"] if value["public"] else age_open(value["details"], [newest])
    return keys, details(plain, value["public"])


def details(plain, public):
    value = whole(shape(name=text(1, 2048), id_key=ID, schema=blob(0, MIB)), plain)
    named = re.fullmatch(r"public|trusted|group:NAME|peers:NAME(,NAME)*".replace("NAME", NAME), value["name"])
    peers = value["name"][6:].split(",") if value["name"].startswith("peers:") else []
    ascending([name.encode() for name in peers], "the peers in its name")
    must(named and (value["name"] == "public") == public, f"{value['name']!r} is no name for it")
    return value


def schema(data):
    if not data:
        return {}

    def rule(r):
        count = r.count(4, 2, 3)
        return [r.text(0, 64), maybe(FIELD)(r)] + [r.text(0, 68) for _ in range(count - 2)]

    return whole(lambda r: r.entries(1, 256, TREE, lambda r: r.entries(0, 1024, FIELD, rule)), data)


def head(data, signer=None):
    payload, key = open_document("head", data, signer)
    value = whole(shape(
        seq=NUMBER, base=maybe(shape(seq=NUMBER, commit=ID)), prev=maybe(ID), time=TIME, epoch=uint(1, U32),
        scope=blob(16), commit=ID, format=FORMAT, signer=ID, writes=TIME,
        segments=many(0, 64, shape(to=NUMBER, **{"from": TIME}, objects=many(1, 65536, items(ID, uint(1, 128 * MIB))))),
        incarnation=INCARNATION, manifest_seq=NUMBER), payload)
    segments, based = value["segments"], value["base"] is not None
    must(value["signer"] == key, "it names another signer")
    must((value["prev"] is None) == (value["seq"] == 1), "prev is null if and only if seq is 1")
    must(sum(len(one["objects"]) for one in segments) <= 65536, "too many objects")
    must(all(one["from"] < one["to"] for one in segments), "a segment ends before it begins")
    for number, (one, next_one) in enumerate(zip(segments, segments[1:])):
        overlaps = number == 0 and not based and 0 < next_one["from"] < one["to"]
        must(one["to"] == next_one["from"] or overlaps, "segments have a gap or overlap")
    must(not segments or segments[-1]["to"] == value["seq"], "the last segment doesn't end at seq")
    must(based or (segments and segments[0]["from"] == 0), "no snapshot")
    return value


# --- receipt.md ----------------------------------------------------------------------------------------------------

PART = blob(0, 65536)


def receipt(data, signer=None):
    payload, key = open_document("receipt", data, signer)
    value = whole(shape(
        seq=NUMBER, body=blob(0, 2 * MIB), time=TIME, epoch=maybe(uint(1, U32)), scope=blob(16), format=FORMAT,
        signer=ID, incarnation=INCARNATION), payload)
    must(value["signer"] == key, "it names another signer")
    return value


def statement(data):
    must(len(data) <= MIB, "the statement is too long")
    value = whole(shape(forks=many(0, 4, items(PART, PART)), heads=many(0, 1025, PART),
                        applied=many(0, 1025, items(ID, INCARNATION, NUMBER, ID))), data)
    ascending([one[0] for one in value["applied"]], "the signers of what is applied")
    return value


# --- bundle.md -----------------------------------------------------------------------------------------------------

HEX = "[0-9a-f]"
PLACES = {
    "format": 64, f"objects/({HEX}{{2}})/\\1{HEX}{{62}}\\.age": 128 * MIB, f"scopes/{HEX}{{32}}/manifest": 4 * MIB,
    f"scopes/{HEX}{{32}}/(heads|receipts)/{HEX}{{64}}": 4 * MIB, f"instances/{HEX}{{64}}": 4 * MIB,
}


def request(data, signer=None):
    payload, key = open_document("request", data, signer)
    told = items(ID, INCARNATION, uint())
    value = whole(shape(
        time=TIME, cards=many(0, 4096, items(ID, ID)), format=FORMAT,
        scopes=many(0, 4096, items(blob(16), maybe(ID), many(0, 1025, items(ID, INCARNATION, uint(), ID)),
                                   many(0, 1025, told))),
        signer=ID), payload)
    must(value["signer"] == key, "it names another signer")
    lists = [value["cards"], value["scopes"], *(part for held in value["scopes"] for part in held[2:])]
    for entries in lists:
        ascending([entry[0] for entry in entries], "ids")
    return value


def bundle_index(data, signer=None):
    payload, key = open_document("bundle", data, signer)
    value = whole(shape(
        id=blob(16), part=uint(1, 10000), time=TIME, parts=uint(1, 10000), format=FORMAT, signer=ID,
        entries=many(0, 24576, items(text(0, 128), uint(), ID)), request=maybe(blob(0, 262144))), payload)
    must(value["signer"] == key, "it names another signer")
    must(value["part"] <= value["parts"], "a part beyond the last")
    seen = set()
    for path, size, digest in value["entries"]:
        bounds = [bound for pattern, bound in PLACES.items() if re.fullmatch(pattern, path)]
        must(bounds and path not in seen, f"{path} is no place in a store, or is listed twice")
        must(1 <= size <= bounds[0], f"{path}: {size} bytes")
        must(not path.startswith("objects/") or path[11:75] == digest.hex(), f"{path}: its hash isn't its name")
        seen.add(path)
    if value["request"] is not None:
        value["request"] = request(value["request"], key)
    return value


def tar_header(path, size):
    name, prefix = path, ""
    if len(path) > 100:
        prefix, name = path.rsplit("/", 1)
    block = bytearray(512)

    def put(at, value):
        block[at:at + len(value)] = value

    put(0, name.encode())
    put(100, b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0" + b" " * 8 + b"0")
    put(257, b"ustar\x0000")
    put(345, prefix.encode())
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def bundle(data):
    """One part of a bundle in clear: its index, and its files by place."""
    at = 0

    def file(path, size):
        nonlocal at
        content, fill = data[at + 512:at + 512 + size], -size % 512
        must(data[at:at + 512] == tar_header(path, size), f"{path}: another header")
        must(len(content) == size and data[at + 512 + size:at + 512 + size + fill] == bytes(fill), f"{path}: cut or filled")
        at += 512 + size + fill
        return content

    must(re.fullmatch(rb"[0-7]{11}\0", data[124:136]), "no index")
    size = int(data[124:135], 8)
    must(size <= 4 * MIB, "the index is too long")
    index, files = bundle_index(file("index", size)), {}
    for path, size, digest in index["entries"]:
        files[path] = file(path, size)
        must(name_of(files[path]) == digest, f"{path}: other bytes")
        must(path != "format" or files[path] == b"wbsync store 1\n", "no store, or a later one")
    must(data[at:] == bytes(1024), "something follows the last file")
    return index, files


# --- record.md, commit.md, changeset.md ----------------------------------------------------------------------------


def record(data, origin):
    """Cells by field: lists of (author, incarnation, sequence), time, value, and a list with `over` or an empty one."""
    must(len(data) <= 8 * MIB, "the record is too long")
    stamp = items(maybe(ID), INCARNATION, NUMBER, TIME)
    instance = own_elided(origin)

    def cell(r):
        count = r.count(4, 2, 2048)
        must(count % 2 == 0, "a cell of half an element")
        return [(r.uint(0, 4095), *written(r)) for _ in range(count // 2)]

    def written(r):
        if r.data[r.at:r.at + 2] == b"\x83\x07":
            r.at += 2
            return value(r, 0), [value(r, 0)]
        return value(r, 0), []

    def value(r, depth):
        if r.major() != 4:
            start, item = r.at, r.plain()
            must(not isinstance(item, int) or item <= I63, f"byte {start}: an integer of more than 64 bits")
            must(not isinstance(item, str) or len(item.encode()) <= 8 * MIB, f"byte {start}: a text is too long")
            must(not isinstance(item, bytes) or len(item) <= 8 * MIB, f"byte {start}: bytes are too long")
            return item
        start, count = r.at, r.count(4, 2, 4)
        code = r.uint(1, 6)
        must(count == {5: 4, 6: 3}.get(code, 2), f"byte {start}: value kind {code} of {count} items")
        if code == 1:
            micros = r.integer()
            must(micros <= I63, f"byte {start}: a timestamp of more than 64 bits")
            return {"timestamp": micros}
        if code in (2, 3):
            return {"decimal" if code == 2 else "json": r.text(0, 8 * MIB)}
        if code == 4:
            must(depth < 8, f"byte {start}: lists are nested too deeply")
            return {"list": many(0, 65536, lambda r: value(r, depth + 1))(r)}
        if code == 5:
            return {"ref": [instance(r), DATASET(r), r.bytes(16, 16)]}
        return {"blob": [r.bytes(32, 32), r.uint(0, I63)]}

    stamps, cells = whole(items(many(0, 4096, stamp), lambda r: r.entries(0, 1024, FIELD, cell)), data)
    must(all(one[0] != origin for one in stamps), "a stamp names the origin")
    stamps = [((one[0] or origin, one[1], one[2]), one[3]) for one in stamps]
    ascending([one[0] for one in stamps], "stamps")
    for elements in cells.values():
        ascending([element[0] for element in elements], "a cell's stamps")
    used = {element[0] for elements in cells.values() for element in elements}
    must(used == set(range(len(stamps))), "a stamp is missing or isn't used")
    return {field: [(*stamps[at], item, over) for at, item, over in elements] for field, elements in cells.items()}


def own_elided(origin):
    def read(r):
        if r.null():
            return origin
        start, found = r.at, r.bytes(32, 32)
        must(found != origin, f"byte {start}: a reference names the origin")
        return found
    return read


def encoded_record(cells, origin):
    """The bytes of what `record` returns."""
    def plain(value):
        if not isinstance(value, dict):
            return value
        (kind, inner), = value.items()
        if kind == "list":
            return [4, [plain(item) for item in inner]]
        if kind == "ref":
            return [5, None if inner[0] == origin else inner[0], *inner[1:]]
        if kind == "blob":
            return [6, *inner]
        return [{"timestamp": 1, "decimal": 2, "json": 3}[kind], inner]

    stamps = sorted({element[:2] for elements in cells.values() for element in elements})
    flat = {field: [part for stamp, time, value, over in elements
                    for part in (stamps.index((stamp, time)), [7, plain(value), plain(over[0])] if over else plain(value))]
            for field, elements in cells.items()}
    return encoded([[[None if one[0] == origin else one[0], one[1], one[2], time] for one, time in stamps], flat])


CLOCK = items(ID, INCARNATION, NUMBER)


def commit(data):
    must(len(data) <= 4 * MIB, "the commit is too long")

    def making(r):
        start, count = r.at, r.count(4, 1, 5)
        must(count in (1, 5), f"byte {start}: a making of {count} items")
        if count == 1:
            return {"frontier": many(2, 4096, items(ID, INCARNATION, NUMBER, ID))(r)}
        return {"parent": maybe(ID)(r), "author": (ID(r), INCARNATION(r), NUMBER(r)), "time": TIME(r)}

    root = items(ID, NUMBER)
    value = whole(shape(clock=many(0, 65536, CLOCK), scope=blob(16), format=FORMAT, making=making,
                        datasets=lambda r: r.entries(0, 256, TREE, root)), data)
    ascending([entry[:2] for entry in value["clock"]], "the clock's entries")
    clock = value["clock"] = {tuple(entry[:2]): entry[2] for entry in value["clock"]}
    made = value["making"]
    if "author" in made:
        must(clock.get(made["author"][:2]) == made["author"][2], "the clock doesn't end at the capture")
        must(made["parent"] is not None or len(clock) == 1, "a first capture has seen others")
    else:
        ascending([entry[:2] for entry in made["frontier"]], "the frontier")
        must(all(clock.get(tuple(entry[:2])) == entry[2] for entry in made["frontier"]), "frontier and clock differ")
    return value


def commit_id(id_key, data):
    return keyed(derived("wbsync 2026 commit id v1", id_key), data)


def changeset(data):
    """Header, entries as (dataset, key, body), and the footer's `last` of one object's plaintext."""
    must(len(data) <= 64 * MIB, "the plaintext is too long")
    r, entries, dataset, last = Cbor(data), [], None, None
    header = shape(tip=ID, **{"from": uint()}, part=uint(0, U32), scope=blob(16), format=FORMAT,
                   commits=many(0, 65536, blob(0, 4 * MIB)))(r)
    while True:
        start = r.at
        if r.major() == 3:
            found = TREE(r)
            must(dataset is None or (last and (len(dataset), dataset) < (len(found), found)), f"byte {start}: datasets")
            dataset, last = found, None
            continue
        if r.count(4, 2, 3) == 3:
            break
        key = r.bytes(16, 16)
        must(dataset is not None and (last is None or last < key), f"byte {start}: keys don't ascend, or no dataset")
        last = key
        if r.major() == 2:
            body = r.bytes(0, 8 * MIB)
        else:
            body = r.simple()
            must(body is not True, f"byte {start}: no body")
        entries.append((dataset, key, body))
    must(dataset is None or last is not None, "a dataset without entries")
    count, final, checksum = r.uint(), boolean(r), r.bytes(32, 32)
    r.end()
    must(count == len(entries), "the footer counts other entries")
    must(checksum == name_of(data[:start]), "the checksum is another")
    return header, entries, final


def opened(name, data, secrets):
    """The plaintext of a sealed object, and whether its padding is Padmé's."""
    must(name_of(data) == name, "its bytes have another name")
    packed = age_open(data, secrets)
    must(len(packed) <= 72 * MIB, "its content is too long")
    return unpacked(packed)


# --- tree.md -------------------------------------------------------------------------------------------------------

# Floating point suffices to make this table; `vectors` checks it against the one on the page.
SURVIVAL = [round((2**32 - 1) * math.exp(-((64 * i / 4096) ** 4))) for i in range(141)]


def survival(size):
    i, rest = divmod(size, 64)
    return 0 if i >= 140 else SURVIVAL[i] - (SURVIVAL[i] - SURVIVAL[i + 1]) * rest // 64


def root_of(id_key, records, kept=None):
    """The root id of a map from bytes to bytes, and how many nodes there are; their bytes go into `kept` by id."""
    boundary = derived("wbsync tree boundary v1", id_key)
    level, count = 0, 0
    row = [(key, encoded(key) + encoded(records[key]), 1) for key in sorted(records)]
    while True:
        nodes, node, size = [], [], 0

        def end():
            body = encoded(level) + cbor_head(4, len(node) * (2 if level == 0 else 3)) + b"".join(e[1] for e in node)
            nodes.append((node[-1][0], keyed(id_key, b"\x82" + body), sum(entry[2] for entry in node)))
            if kept is not None:
                kept[nodes[-1][1]] = b"\x82" + body

        for entry in row:
            if node and 6 + size + len(entry[1]) > 16384:
                end()
                node, size = [], 0
            before, after = survival(size), survival(size + len(entry[1]))
            size += len(entry[1])
            node.append(entry)
            if size >= 512 and (level == 0 or len(node) >= 2):
                chance = int.from_bytes(keyed(boundary, bytes([level]) + entry[0])[:4], "little")
                if after == 0 or chance * before < (before - after) << 32:
                    end()
                    node, size = [], 0
        if node:
            end()
        count += len(nodes)
        if len(nodes) == 1:
            return nodes[0][1], count
        row = [(key, encoded(key) + encoded(node_id) + encoded(below), below) for key, node_id, below in nodes]
        level += 1


def roots_of(id_key, state):
    return {name: [root_of(id_key, records)[0], len(records)] for name, records in state.items() if records}
