/** One row of the parity table: a bash script that is run direct and through the guard. */
export interface ParityCase {
  readonly name: string;
  /**
   * In scope: `$N` a container name prefix of this run, `$D` an empty directory, `$PTY` the dialogue runner, and the
   * functions of `prelude`. Everything printed, and the exit code, is compared after `normalise`.
   */
  readonly script: string;
  /** What the direct run must print, so that two equally broken runs are not taken for a success. */
  readonly shows: RegExp;
  /**
   * Also through the guard's unix listener: everything that hijacks or streams. The default is TCP alone.
   * `unix`: only there, because the CLI itself behaves otherwise on TCP, with dockerd too.
   */
  readonly via?: 'both' | 'unix';
  /** Needs the Compose plugin. */
  readonly compose?: true;
}

export const prelude = `
set -u
up() { local n=$1; shift; docker run -d --name "$n" "$@" >/dev/null; }
rc() { echo "rc=$?"; }
rmf() { docker rm -f "$@" >/dev/null 2>&1; }
cd "$D"
`;

/** Prints the same whatever ids, times and addresses a run was given. */
export function normalise(text: string, name: string, dir: string): string {
  return text
    .replaceAll(dir, '<dir>')
    .replaceAll(name, '<name>')
    .replaceAll(/\b[0-9a-f]{64}\b/g, '<id>')
    .replaceAll(/\b[0-9a-f]{12}\b/g, '<short>')
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( UTC)?/g, '<time>')
    .replaceAll(/(Less than a|About a|\d+) (second|minute)s?( ago)?/g, '<ago>')
    .replaceAll(/\b10\.\d+\.\d+\.\d+\b/g, '<ip>')
    .replaceAll(/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, '<mac>')
    .replaceAll(/ {3,}/g, '  ')
    .replaceAll(/127\.0\.0\.1:\d+/g, '<endpoint>')
    .replaceAll(/\b\d+\.\d+s\b/g, '<s>');
}

export const cases: readonly ParityCase[] = [
  { name: 'version', shows: /20\.|26\.|2\d\./, script: `docker version --format '{{json .Server}}'` },
  {
    name: 'info',
    shows: /overlay|vfs/,
    script: `docker info --format '{{.ID}} {{.ServerVersion}} {{.Driver}} {{.OSType}} {{json .Plugins}} {{json .RegistryConfig}}'`,
  },
  {
    name: 'ps',
    shows: /sleep 60/,
    script: `up $N --label l=$N alpine sleep 60; docker ps --no-trunc --filter label=l=$N; docker ps -aqs --filter name=$N
      docker ps --filter bogus=1; rc; docker ps --format '{{json .Labels}}' --filter name=$N; rmf $N`,
  },
  {
    name: 'run: output, errors, exit code',
    shows: /out\nrc=7/,
    via: 'both',
    script: `docker run --name $N alpine sh -c 'echo out; echo err >&2; exit 7'; rc; rmf $N`,
  },
  {
    name: 'run --rm',
    shows: /hi\nrc=0\n0/,
    script: `docker run --rm --name $N alpine echo hi; rc; docker ps -aq --filter name=$N | wc -l`,
  },
  {
    name: 'run: exit codes 125, 126, 127, 137',
    shows: /rc=126\nrc=127\nrc=125\nrc=137\nrc=125/,
    script: `docker run --rm alpine /etc/passwd; rc; docker run --rm alpine no-such-command; rc
      docker run --rm --memory=1 alpine true; rc; docker run --rm --init alpine sh -c 'kill -9 $$'; rc
      docker run --rm --pull=never nosuchimage:none true; rc`,
  },
  {
    name: 'run -i, piped stdin',
    shows: /a\nb\nrc=0\nx\nafter-eof\nrc=0/,
    via: 'both',
    script: `printf 'a\\nb\\n' | docker run --rm -i alpine cat; rc; echo x | docker run -i --rm alpine sh -c 'cat; echo after-eof'; rc`,
  },
  {
    name: 'run -i, empty stdin',
    shows: /^end\nrc=0/,
    via: 'both',
    script: `docker run --rm -i alpine sh -c 'cat; echo end' </dev/null; rc`,
  },
  {
    name: 'run -i, 50 MB piped in',
    shows: /^[0-9a-f]{16}\nrc=0/,
    via: 'both',
    script: `head -c 52428800 /dev/zero | tr '\\0' x | docker run --rm -i alpine sha256sum | cut -c1-16; rc`,
  },
  {
    name: 'run, 50 MB output',
    shows: /^[0-9a-f]{16}\nrc=0/,
    via: 'both',
    script: `docker run --rm alpine sh -c 'head -c 52428800 /dev/zero | tr "\\0" y' | sha256sum | cut -c1-16; rc`,
  },
  {
    name: 'run -i, 5 MB both ways',
    shows: /^[0-9a-f]{16}\n/,
    via: 'both',
    script: `head -c 5242880 /dev/zero | tr '\\0' z | docker run --rm -i alpine cat | sha256sum | cut -c1-16`,
  },
  {
    name: 'run -t',
    shows: /p +t +s/,
    via: 'both',
    script: `docker run --rm -t alpine sh -c 'tty; echo hi; echo err >&2' | od -c; rc`,
  },
  {
    name: 'run -it on a terminal',
    shows: /rc=5\n30 100/,
    via: 'both',
    script: `$PTY --size 30x100 'expect=/ # ' 'pause=0.5' 'send=stty size\\n' 'expect=30 100' 'expect=/ # ' 'send=exit 5\\n' -- docker run --rm -it alpine >o; rc; grep -o '^30 100' o`,
  },
  {
    name: 'run -it, terminal resized',
    shows: /rc=0\n41 132/,
    via: 'both',
    script: `$PTY --size 30x100 'expect=/ # ' 'pause=0.5' 'resize=41x132' 'pause=1' 'send=stty size\\n' 'expect=41 132' 'send=exit\\n' -- docker run --rm -it alpine >o; rc; grep -o '^41 132' o`,
  },
  {
    name: 'run -it, detach keys, attach again',
    shows: /rc=0\n1\n3\n/,
    // Over TCP `docker run` hangs after the detach keys, also against dockerd itself (CLI 28, dockerd 20.10).
    via: 'unix',
    script: `$PTY 'expect=/ # ' 'send=X=kept\\n' 'expect=/ # ' 'send=\\x10\\x11' -- docker run --name $N -it alpine >o; rc
      $PTY 'pause=0.5' 'send=echo got-$X\\n' 'expect=got-kept' 'send=exit 3\\n' -- docker attach $N | grep -c got-kept; docker wait $N; rmf $N`,
  },
  {
    name: 'run: signals are passed on',
    shows: /rc=9\nready\nusr/,
    via: 'both',
    script: `: >out; docker run --rm --name $N alpine sh -c 'trap "echo usr; exit 9" USR1; echo ready; while :; do sleep 0.1; done' >out & p=$!
      for i in $(seq 50); do grep -q ready out && break; sleep 0.1; done; kill -USR1 $p; wait $p; rc; cat out`,
  },
  {
    name: 'exec',
    shows: /out\nrc=3\nb\n\/tmp\n1000\nrc=0\n[^]*rc=12[67]\nrc=1\nrc=0\nd\n/,
    via: 'both',
    script: `up $N alpine sleep 60; docker exec $N sh -c 'echo out; echo err >&2; exit 3'; rc
      docker exec -e A=b -w /tmp -u 1000 $N sh -c 'echo $A; pwd; id -u'; rc; docker exec $N no-such; rc; docker exec nosuch$N true; rc
      docker exec -d $N sh -c 'echo d > /tmp/d'; rc; sleep 0.4; docker exec $N cat /tmp/d; rmf $N`,
  },
  {
    name: 'exec -i, half-close',
    shows: /x\nrc=0\ny\nafter\nrc=0\nend\nrc=0/,
    via: 'both',
    script: `up $N alpine sleep 60; echo x | docker exec -i $N cat; rc; echo y | docker exec -i $N sh -c 'cat; sleep 0.5; echo after'; rc
      docker exec -i $N sh -c 'cat; echo end' </dev/null; rc; rmf $N`,
  },
  {
    name: 'exec -i, 20 MB piped in',
    shows: /20971520\nrc=0/,
    via: 'both',
    script: `up $N alpine sleep 60; head -c 20971520 /dev/zero | docker exec -i $N wc -c; rc; rmf $N`,
  },
  {
    name: 'exec -t and -it',
    shows: /rc=4\n20 70/,
    via: 'both',
    script: `up $N alpine sleep 60; docker exec -t $N sh -c 'tty; echo hi' | od -c
      $PTY --size 20x70 'expect=/ # ' 'pause=0.5' 'send=stty size\\n' 'expect=20 70' 'send=exit 4\\n' -- docker exec -it $N sh >o; rc; grep -o '^20 70' o; rmf $N`,
  },
  {
    name: 'exec, 10 at once',
    shows: /0\n1\n2\n3\n4\n5\n6\n7\n8\n9/,
    script: `up $N alpine sleep 60; for i in 0 1 2 3 4 5 6 7 8 9; do docker exec $N echo $i > o$i & done; wait; cat o*; rmf $N`,
  },
  {
    name: 'attach',
    shows: /got hello\nrc=5\npiped\nrc=0\nrc=1/,
    via: 'both',
    script: `up $N -i alpine sh -c 'read x; echo got $x; sleep 0.5; exit 5'; (echo hello; sleep 1) | docker attach $N; rc; rmf $N
      docker create -i --name $N alpine cat >/dev/null; echo piped | docker start -ai $N; rc; rmf $N; docker attach nosuch$N; rc`,
  },
  {
    name: 'logs, logs -f',
    shows: /line 5\nrc=0\n5\nline 5/,
    via: 'both',
    script: `up $N alpine sh -c 'for i in 1 2 3 4 5; do echo line $i; echo e$i >&2; sleep 0.3; done'; docker logs -f $N 2>err; rc; wc -l <err
      docker logs --tail 2 $N 2>/dev/null; docker logs -t --tail 1 $N 2>&1 | sed 's/e5/line 5/'; docker logs --since 1h --until 1s $N >/dev/null 2>&1; rc
      docker logs nosuch$N; rc; rmf $N`,
  },
  {
    name: 'events --since --until',
    shows: /container create [^\n]*\n[^]*container start/,
    via: 'both',
    script: `a=$(date +%s.%N); up $N alpine true; docker wait $N; docker rm $N >/dev/null
      docker events --since $a --until $(date +%s.%N) --filter container=$N --format '{{.Type}} {{.Action}} {{.Actor.Attributes.exitCode}}'; rc`,
  },
  {
    name: 'events, live',
    shows: /create[^]*die\ndestroy/,
    via: 'both',
    script: `timeout 20 docker events --filter container=$N --format '{{.Action}}' >ev & p=$!; sleep 0.8; up $N alpine true; docker wait $N; docker rm $N >/dev/null
      for i in $(seq 50); do grep -q destroy ev && break; sleep 0.1; done; kill $p; wait $p 2>/dev/null; cat ev`,
  },
  {
    name: 'cp, both ways',
    shows: /a\nbig\nl\na\n3000000/,
    script: `docker create --name $N alpine >/dev/null; mkdir d; echo one >d/a; ln -s a d/l; head -c 3000000 /dev/zero >d/big
      docker cp d $N:/tmp/; rc; docker cp $N:/tmp/d back; rc; ls back; readlink back/l; wc -c <back/big; docker cp $N:/tmp/d/l -L - | tar tf -
      tar cf - d | docker cp - $N:/root; rc; docker cp $N:/root - | tar tf - | sort; docker cp $N:/nosuch x; rc; docker cp d/a $N:/nosuch/dir/ 2>&1 | grep -v time=; rc
      docker cp -a d/a $N:/etc/new; docker cp $N:/etc/new - | tar xOf -; rmf $N`,
  },
  {
    name: 'build, 30 MB context',
    shows: /v=7/,
    script: `mkdir c; head -c 31457280 /dev/zero >c/blob; printf 'FROM alpine\\nARG V=0\\nCOPY blob /blob\\nRUN wc -c /blob && echo v=$V > /v\\nLABEL l=1\\nCMD ["cat","/v"]\\n' >c/Dockerfile
      DOCKER_BUILDKIT=0 docker build --no-cache --build-arg V=7 --label run=$N -t $N:a c 2>&1 | grep -v -e Sending -e DEPRECATED -e 'legacy builder' -e buildx -e '^$' -e 'BuildKit'; docker run --rm $N:a; docker rmi $N:a | wc -l`,
  },
  {
    name: 'build: -f, target, ignore, stdin, failure',
    shows: /rc=0\nD\nkeep/,
    script: `export DOCKER_BUILDKIT=0; mkdir c; echo skip >c/.dockerignore; touch c/skip c/keep; printf 'FROM alpine AS one\\nCOPY . /c\\nFROM alpine AS two\\nRUN false\\n' >c/D
      docker build -q -f c/D --target one -t $N:b c >/dev/null 2>&1; rc; docker run --rm $N:b ls /c; docker build -q -f c/D -t $N:c c 2>&1 | grep -v -i -e legacy -e buildx -e '^$' -e buildkit; rc
      printf 'FROM busybox\\nENV A=1\\n' | docker build -q -t $N:d - 2>/dev/null; rc; tar -C c -cf - . | docker build -q -f D --target one - 2>/dev/null; rc
      printf 'NOSUCH x\\n' | docker build - 2>&1 | grep -i -e unknown; docker rmi $N:b $N:d | wc -l`,
  },
  {
    name: 'save | load',
    shows: /Loaded image: <name>:s\nloaded/,
    script: `docker create --name $N alpine sh -c 'echo loaded' >/dev/null; docker commit $N $N:s >/dev/null; docker rm $N >/dev/null; docker save $N:s >s.tar; tar tf s.tar | grep -c layer
      docker rmi $N:s >/dev/null; docker load -q <s.tar; docker run --rm $N:s; docker save alpine busybox | tar xOf - manifest.json | grep -o '[a-z]*:latest' | sort; docker rmi $N:s | wc -l
      echo junk | docker load; rc; docker save nosuch$N -o x; rc`,
  },
  {
    name: 'save | load, piped',
    shows: /Loaded image: alpine:latest/,
    script: `docker save alpine | docker load; rc`,
  },
  {
    name: 'import',
    shows: /Q=1/,
    script: `mkdir r; echo hi >r/f; tar -C r -cf - . | docker import --change 'ENV Q=1' --message m - $N:i; rc; docker inspect $N:i --format '{{json .Config.Env}} {{.Comment}}'; docker history -q $N:i | wc -l; docker rmi $N:i | wc -l`,
  },
  {
    name: 'commit',
    shows: /\/made\nme msg/,
    script: `docker run --name $N alpine touch /made; docker commit -m msg -a me -c 'CMD ["ls","/made"]' $N $N:k; rc; docker run --rm $N:k; docker inspect $N:k --format '{{.Author}} {{.Comment}}'; rmf $N; docker rmi $N:k | wc -l`,
  },
  {
    name: 'export',
    shows: /made/,
    script: `docker run --name $N alpine touch /made; docker export $N | tar tf - | grep -v -e '^bin/' | sort; rmf $N`,
  },
  {
    name: 'volume',
    shows: /local local/,
    script: `docker volume create --label l=$N $N; docker volume ls --filter label=l=$N; docker run --rm -v $N:/v alpine touch /v/f; docker run --rm -v $N:/v:ro alpine ls /v
      docker volume inspect $N --format '{{.Driver}} {{.Scope}} {{json .Labels}}'; docker volume rm $N; docker volume inspect $N; rc; docker volume create --label p=$N ${'$'}{N}p; docker volume prune -af --filter label=p=$N; rc`,
  },
  {
    name: 'network',
    shows: /bridge <name> |<name> bridge/,
    script: `docker network create --label l=$N $N >/dev/null; docker network ls --filter name=$N; up ${'$'}{N}a --network $N --network-alias peer alpine sleep 60; up ${'$'}{N}b alpine sleep 60
      docker network connect --alias other $N ${'$'}{N}b; docker inspect ${'$'}{N}b --format '{{range $k,$v := .NetworkSettings.Networks}}{{$k}} {{end}}'; docker network disconnect $N ${'$'}{N}b; rc
      docker network inspect $N --format '{{.Driver}} {{len .Containers}}'; docker network rm $N; rc; rmf ${'$'}{N}a ${'$'}{N}b; docker network rm $N; docker network inspect $N; rc`,
  },
  {
    name: 'publish and port',
    shows: /<endpoint>/,
    script: `up $N -p 127.0.0.1::80 alpine sleep 60; docker port $N; docker port $N 80/tcp; docker port $N 81; rc; rmf $N`,
  },
  {
    name: 'stats --no-stream',
    shows: /<name> 1\nrc=0/,
    script: `up $N alpine sleep 60; docker stats --no-stream --format '{{.Name}} {{.PIDs}}' $N; rc; docker stats --no-stream nosuch$N; rc; rmf $N`,
  },
  {
    name: 'stats, streaming',
    shows: /many/,
    via: 'both',
    script: `up $N alpine sleep 60; docker stats --format '{{.Name}}' $N >st & p=$!; sleep 4; kill -9 $p; wait $p 2>/dev/null; grep -c $N st | awk '{print ($1 >= 2) ? "many" : "few"}'; rmf $N`,
  },
  {
    name: 'top',
    shows: /sleep 60/,
    script: `up $N alpine sleep 60; docker top $N -o pid,comm,args | sed 's/^[0-9]* */pid /'; rc; docker top $N -bogus; rc; rmf $N; docker top $N; rc`,
  },
  {
    name: 'wait',
    shows: /^6\nrc=0/,
    via: 'both',
    script: `up $N alpine sh -c 'sleep 1; exit 6'; docker wait $N; rc; docker wait nosuch$N; rc; rmf $N`,
  },
  {
    name: 'diff',
    shows: /A \/a/,
    script: `docker run --name $N alpine sh -c 'touch /a; rm /etc/group'; docker diff $N | sort; rmf $N`,
  },
  {
    name: 'rename, update',
    shows: /\/<name>r 512 67108864/,
    script: `docker create --name $N alpine >/dev/null; docker rename $N ${'$'}{N}r; rc; docker update --cpu-shares 512 -m 64m --memory-swap 64m ${'$'}{N}r
      docker inspect ${'$'}{N}r --format '{{.Name}} {{.HostConfig.CpuShares}} {{.HostConfig.Memory}}'; docker rename nosuch$N x; rc; rmf ${'$'}{N}r`,
  },
  {
    name: 'pause, unpause, kill, stop, restart',
    shows: /paused/,
    script: `up $N --init alpine sleep 60; docker pause $N; docker inspect $N --format '{{.State.Status}}'; docker unpause $N; docker restart -t 1 $N; docker kill -s TERM $N; docker wait $N
      docker kill $N; rc; docker start $N; docker stop -t 1 $N; docker inspect $N --format '{{.State.Status}} {{.RestartCount}}'; rmf $N`,
  },
  {
    name: 'create with many options',
    shows: /^rc=0\n.*"nofile"/,
    script: `docker create --name $N --hostname h --user 1000 -e B='x y' --label a=b -w /tmp --entrypoint /bin/echo --restart on-failure:3 -m 64m --cpus 0.5 --cap-drop ALL --read-only --tmpfs /t:size=1m --ulimit nofile=99 --stop-signal USR1 --health-cmd 'true' --health-interval 5s --log-opt max-size=1m --dns 10.9.9.9 --add-host x:10.1.1.1 --shm-size 8m --sysctl net.ipv4.ip_unprivileged_port_start=1 alpine one 'two three' >/dev/null; rc
      docker inspect $N --format '{{json .Config}} {{json .HostConfig}} {{json .Args}}'; rmf $N`,
  },
  {
    name: 'inspect',
    shows: /"Cmd":\["\/bin\/sh"\]/,
    script: `docker create --name $N alpine >/dev/null; docker inspect --size $N | sed -e 's/"ResolvConfPath.*//' | grep -v -e Path; docker inspect --type image alpine --format '{{json .Config}}'; docker inspect nosuch$N; rc; rmf $N`,
  },
  {
    name: 'history',
    shows: /Imported/,
    script: `docker history alpine; docker history --no-trunc -q alpine; docker history nosuch$N; rc`,
  },
  {
    name: 'tag, rmi',
    shows: /Untagged/,
    script: `docker tag alpine $N/a/b:1.0; docker images $N/a/b; docker rmi $N/a/b:1.0; docker rmi $N/a/b:1.0; rc; docker tag nosuch$N x; rc; docker tag alpine 'BAD NAME'; rc`,
  },
  {
    name: 'images',
    shows: /alpine/,
    script: `docker images --filter reference=alpine --no-trunc; docker images -aq --filter label=base=two; docker images --digests busybox; docker image inspect alpine busybox --format '{{.RepoTags}}'`,
  },
  {
    name: 'system df',
    shows: /Images\nContainers/,
    script: `docker system df --format '{{.Type}}'; docker system df -v | head -3; docker system df | wc -l`,
  },
  {
    name: 'prune',
    shows: /Deleted Containers/,
    script: `docker create --name $N --label p=$N alpine >/dev/null; docker container prune -f --filter label=p=$N; docker ps -aq --filter name=$N; docker network prune -f --filter label=p=$N; docker image prune -f --filter label=p=$N; docker builder prune -f`,
  },
  {
    name: 'pull and push, refused connection',
    shows: /rc=1/,
    script: `docker pull 127.0.0.1:1/x:1; rc; docker tag alpine 127.0.0.1:1/x:1; docker push 127.0.0.1:1/x:1; rc; docker rmi 127.0.0.1:1/x:1 | wc -l`,
  },
  {
    name: 'swarm and plugins, not in use',
    shows: /rc=1/,
    script: `docker node ls; rc; docker service ls; rc; docker plugin ls; rc; docker secret ls; rc`,
  },
  {
    name: 'curl: HEAD, 404, bad method, old and new API',
    shows: /200 text\/plain[^]*404 application\/json/,
    script: `u() { case $DOCKER_HOST in unix*) curl -s --max-time 10 --unix-socket ${'$'}{DOCKER_HOST#unix://} -o body -w '%{http_code} %{content_type}\\n' "http://localhost$1" "${'$'}{@:2}";; *) curl -s --max-time 10 -o body -w '%{http_code} %{content_type}\\n' "http://${'$'}{DOCKER_HOST#tcp://}$1" "${'$'}{@:2}";; esac; cat body 2>/dev/null; rm -f body; echo; }
      u /_ping; u /_ping -I | grep -v -i -e date: -e connection: -e keep-alive:; u /v1.41/containers/nosuch/json; u /v1.24/version; u /v1.99/version; u /v1.41/images/alpine/json -o /dev/null; u '/v1.41/containers/json?limit=1&all=banana' | head -c 3`,
    via: 'both',
  },
  {
    name: 'compose up, ps, logs, exec, down',
    shows: /rc=0\njob exited 0\nweb running 0\n.*job-done\n.*web-up\nin\nrc=3\npiped/,
    compose: true,
    via: 'both',
    script: `printf 'services:\\n  web:\\n    image: alpine\\n    command: sh -c "echo web-up; sleep 60"\\n    init: true\\n    volumes: [data:/data]\\n    environment: {A: "1"}\\n  job:\\n    image: busybox\\n    command: echo job-done\\n    depends_on: [web]\\nvolumes:\\n  data: {}\\n' >compose.yaml
      dc() { docker compose --progress quiet -p $N "$@"; }; dc up -d; rc; sleep 0.7; dc ps -a --format '{{.Service}} {{.State}} {{.ExitCode}}' | sort; dc logs --no-color --no-log-prefix | sed 's/\\x1b\\[2K//g' | sort; dc exec -T web sh -c 'echo in; exit 3'; rc
      echo piped | dc exec -T web cat; dc run --rm -T job echo one-off; dc top web | wc -l; dc restart -t 1 web; dc up -d --scale job=2; dc ps -aq | wc -l; dc down -v -t 1; rc; docker ps -aq --filter name=$N | wc -l; docker volume ls -q --filter name=$N`,
  },
  {
    name: 'compose up in the foreground, build',
    shows: /built/,
    compose: true,
    script: `printf 'FROM alpine\\nRUN echo built > /b\\n' >Dockerfile; printf 'services:\\n  b:\\n    build: .\\n    command: cat /b\\n' >compose.yaml
      DOCKER_BUILDKIT=0 docker compose --progress quiet -p $N build -q >/dev/null 2>&1; rc; docker compose --progress quiet -p $N up --no-color --no-log-prefix --abort-on-container-exit 2>/dev/null; rc; docker compose --progress quiet -p $N down --rmi local -t 1; rc`,
  },
];
