"""Works through the Docker SDK for Python against DOCKER_HOST and prints one JSON line for each step:
{"name": ..., "result": ...}. Results hold nothing that differs from run to run, so two runs can be compared.

sdk-parity.py PREFIX
"""

import base64, hashlib, io, json, os, re, socket, sys, tarfile, threading, time, traceback

import docker

prefix = sys.argv[1]
client = docker.from_env(timeout=20)
api = client.api
steps = []


def step(f):
    steps.append(f)
    return f


def clean(value):
    text = json.dumps(value, sort_keys=True, default=str).replace(prefix, "<name>")
    text = re.sub(r"\b[0-9a-f]{64}\b", "<id>", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "<short>", text)
    text = re.sub(r"\b10\.\d+\.\d+\.\d+\b", "<ip>", text)
    text = re.sub(r"http\+docker://localhost|http://127\.0\.0\.1:\d+", "<endpoint>", text)
    return json.loads(re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>", text))


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def sleeper(**kw):
    return client.containers.run("alpine", "sleep 60", detach=True, name=prefix, **kw)


@step
def ping_version_info():
    v = client.version()
    return client.ping(), v["ApiVersion"], v["Version"], client.info()["Driver"]


@step
def run_output():
    return client.containers.run("alpine", ["sh", "-c", "echo out; sleep 0.1; echo err >&2"], remove=True, stderr=True).decode()


@step
def run_failure():
    try:
        client.containers.run("alpine", "sh -c 'echo bad >&2; exit 4'", remove=True)
    except docker.errors.ContainerError as e:
        return e.exit_status, e.stderr.decode()


@step
def missing_image():
    try:
        api.create_container("nosuchimage:none")
    except docker.errors.ImageNotFound as e:
        return e.status_code, e.explanation


@step
def exec_run():
    c = sleeper()
    plain = c.exec_run(["sh", "-c", "echo a; sleep 0.1; echo b >&2; exit 3"])
    demux = c.exec_run(["sh", "-c", "echo a; echo b >&2"], demux=True)
    stream = b"".join(c.exec_run(["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"], stream=True).output)
    tty = c.exec_run("tty", tty=True).output
    c.exec_run("touch /detached", detach=True)
    time.sleep(0.3)
    return plain, demux, stream.decode(), tty, c.exec_run("ls /detached").exit_code


@step
def exec_socket():
    c = sleeper()
    e = api.exec_create(c.id, ["sh", "-c", "cat; echo after-eof"], stdin=True)["Id"]
    s = api.exec_start(e, socket=True)
    raw = getattr(s, "_sock", s)
    raw.settimeout(10)
    raw.sendall(b"hello\n")
    raw.shutdown(socket.SHUT_WR)
    data = b""
    while chunk := raw.recv(4096):
        data += chunk
    s.close()
    return frames(data), api.exec_inspect(e)["ExitCode"]


def frames(data):
    """What was written to each stream: how it is cut into frames depends on the moment."""
    streams = {}
    while data:
        size = int.from_bytes(data[4:8], "big")
        assert len(data) >= 8 + size, data
        streams[data[0]] = streams.get(data[0], b"") + data[8 : 8 + size]
        data = data[8 + size :]
    return {str(number): content.decode() for number, content in streams.items()}


@step
def logs():
    c = client.containers.run("alpine", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done"], detach=True, name=prefix)
    followed = b"".join(c.logs(stream=True, follow=True))
    return followed.decode(), c.logs(tail=1).decode(), len(c.logs(timestamps=True)), c.wait()


@step
def events_since_until():
    a = time.time() - 0.1
    c = client.containers.run("alpine", "true", detach=True, name=prefix)
    c.wait()
    c.remove()
    return [e["Action"] for e in client.events(since=a, until=time.time() + 0.2, decode=True, filters={"container": c.id})]


@step
def events_live():
    seen = []
    stream = client.events(decode=True, filters={"container": prefix})

    def read():
        for e in stream:
            seen.append(e["Action"])
            if e["Action"] == "destroy":
                break

    t = threading.Thread(target=read, daemon=True)
    t.start()
    time.sleep(0.5)
    client.containers.run("alpine", "true", remove=True, name=prefix)
    t.join(10)
    try:
        stream.close()
    except Exception:
        pass
    return seen


@step
def archive():
    c = sleeper()
    ok = c.put_archive("/tmp", tar_of(one=b"1", big=b"x" * 3000000))
    bits, stat = c.get_archive("/tmp/big")
    data = b"".join(bits)
    inside = tarfile.open(fileobj=io.BytesIO(data)).extractfile("big").read()
    try:
        c.get_archive("/nosuch")
    except docker.errors.NotFound as e:
        gone = e.explanation
    return ok, stat["name"], stat["size"], hashlib.sha256(inside).hexdigest()[:16], gone


@step
def images_build():
    ctx = tar_of(Dockerfile=b"FROM alpine\nARG A\nCOPY f /f\nRUN echo $A > /a\nCMD cat /f /a\n", f=b"data\n")
    img, log = client.images.build(fileobj=io.BytesIO(ctx), custom_context=True, tag=prefix + ":b", rm=True, buildargs={"A": "arg"}, nocache=True)
    text = "".join(x.get("stream", "") for x in log)
    out = client.containers.run(prefix + ":b", remove=True).decode()
    img2, _ = client.images.build(fileobj=io.BytesIO(b"FROM alpine\nLABEL x=1\n"), tag=prefix + ":c", labels={"q": "r"})
    try:
        client.images.build(fileobj=io.BytesIO(b"FROM alpine\nRUN false\n"))
    except docker.errors.BuildError as e:
        bad = e.msg
    client.images.remove(prefix + ":b")
    client.images.remove(prefix + ":c")
    return text, out, img2.labels, bad


@step
def images_save_load_import():
    client.images.get("alpine").tag(prefix, "s")
    data = b"".join(api.get_image(prefix + ":s"))
    client.images.remove(prefix + ":s")
    loaded = [i.tags for i in client.images.load(data)]
    client.images.remove(prefix + ":s")
    imported = api.import_image_from_data(tar_of(f=b"1"), repository=prefix, tag="i")
    history = len(client.images.get(prefix + ":i").history())
    client.images.remove(prefix + ":i")
    return prefix + ":s" in sum(loaded, []), "sha256" in imported, history, api.inspect_image("busybox")["Config"]["Labels"]


@step
def attach():
    c = client.containers.create("alpine", ["sh", "-c", "cat; echo done"], name=prefix, stdin_open=True)
    c.client.api.inspect_container(c.id)
    s = c.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    c.start()
    raw = getattr(s, "_sock", s)
    raw.settimeout(10)
    raw.sendall(b"typed\n")
    data = b""
    while b"typed" not in data:
        data += raw.recv(4096)
    s.close()
    c.kill()
    c2 = client.containers.run("alpine", ["sh", "-c", "sleep 0.5; echo late"], detach=True, name=prefix + "2")
    stream = b"".join(c2.attach(stream=True, logs=True))
    return base64.b64encode(data).decode(), stream.decode()


@step
def attach_websocket():
    c = client.containers.run("alpine", ["cat"], detach=True, name=prefix, stdin_open=True, tty=True)
    host = os.environ["DOCKER_HOST"]
    if host.startswith("unix://"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(host[7:])
    else:
        name, port = host[6:].rsplit(":", 1)
        s = socket.create_connection((name, int(port)), timeout=10)
    key = base64.b64encode(b"0123456789abcdef").decode()
    s.sendall(
        (
            "GET /v1.41/containers/%s/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\nOrigin: http://docker\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (prefix, key)
        ).encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(4096)
    head, rest = data.split(b"\r\n\r\n", 1)
    payload = b"over-ws\n"
    mask = b"\1\2\3\4"
    s.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
    while b"over-ws" not in rest:
        chunk = s.recv(4096)
        if not chunk:
            break
        rest += chunk
    s.close()
    accept = [l for l in head.decode().lower().split("\r\n") if l.startswith("sec-websocket-accept")]
    return head.decode().split("\r\n")[0].split(" ")[1], accept, b"over-ws" in rest


@step
def networks():
    n = client.networks.create(prefix, driver="bridge", labels={"a": "b"}, internal=True)
    c = sleeper()
    n.connect(c, aliases=["x"])
    n.reload()
    joined = len(n.containers)
    n.disconnect(c)
    n.remove()
    try:
        client.networks.get(prefix)
    except docker.errors.NotFound as e:
        return joined, n.attrs["Internal"], e.explanation


@step
def volumes():
    v = client.volumes.create(prefix, labels={"a": "b"})
    out = client.containers.run("alpine", "sh -c 'touch /v/f; ls /v'", remove=True, volumes={prefix: {"bind": "/v", "mode": "rw"}})
    listed = [x.name for x in client.volumes.list(filters={"name": prefix})]
    v.remove()
    return out.decode(), listed, v.attrs["Driver"]


@step
def lifecycle():
    c = sleeper(init=True)
    c.pause()
    c.reload()
    paused = c.status
    c.unpause()
    top = [p[-1] for p in c.top(ps_args="-o pid,args")["Processes"]]
    stats = c.stats(stream=False)["name"]
    first = next(iter(c.stats(decode=True)))["name"]
    c.exec_run("touch /made")
    diff = sorted(d["Path"] for d in c.diff())
    image = c.commit(prefix, "k")
    client.images.remove(image.id)
    c.rename(prefix + "r")
    c.update(cpu_shares=512)
    c.stop(timeout=1)
    code = c.wait()
    exported = len(b"".join(c.export())) > 100000
    found = [x.name for x in client.containers.list(all=True, filters={"name": prefix})]
    c.remove()
    return paused, top, stats, first, diff, code, exported, found


@step
def wait_timeout():
    c = sleeper()
    try:
        c.wait(timeout=1)
    except Exception as e:
        return type(e).__name__
    return "no timeout"


@step
def resize_and_df():
    c = sleeper(tty=True)
    c.resize(30, 100)
    size = c.exec_run("stty size -F /proc/1/fd/0").output.decode()
    return size, sorted(k for k in client.df())


def tidy():
    for c in client.containers.list(all=True, filters={"name": prefix}):
        try:
            c.remove(force=True, v=True)
        except docker.errors.APIError:
            pass


for f in steps:
    start = time.time()
    try:
        result = clean(f())
    except Exception as e:
        result = clean({"exception": type(e).__name__, "text": str(e)})
        traceback.print_exc()
    tidy()
    print(json.dumps({"name": f.__name__, "result": result, "seconds": round(time.time() - start, 1)}), flush=True)
