"""Runs a command under a pseudo-terminal and plays a short dialogue with it.

dialogue.py [--size ROWSxCOLS] STEP... -- COMMAND...
STEP: expect=TEXT (wait, 10 s at most) | send=TEXT (\\n, \\xNN escapes) | resize=ROWSxCOLS | pause=SECONDS
Prints the terminal's output without escape sequences and exits with the command's code, or 99 when an expected
text did not come.
"""

import fcntl, os, pty, re, select, signal, struct, sys, termios, time

steps, command = [], []
args = sys.argv[1:]
size = (24, 80)
while args:
    a = args.pop(0)
    if a == "--":
        command = args
        break
    if a == "--size":
        size = tuple(int(x) for x in args.pop(0).split("x"))
    else:
        steps.append(a.split("=", 1))

pid, fd = pty.fork()
if pid == 0:
    time.sleep(0.1)  # the window size is set by then
    os.execvp(command[0], command)


def resize(rows, cols):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


seen = b""
mark = 0  # how far earlier expectations have consumed the output


def pump(seconds):
    """Reads what there is for up to `seconds`; False at the end."""
    global seen
    if not select.select([fd], [], [], seconds)[0]:
        return True
    try:
        data = os.read(fd, 65536)
    except OSError:
        return False
    seen += data
    if b"\x1b[6n" in data:  # a shell asks where the cursor is; a terminal answers
        os.write(fd, b"\x1b[1;1R")
    return bool(data)


resize(*size)
failed = None
for what, text in steps:
    if what == "expect":
        want = text.encode()
        end = time.time() + 10
        while want not in seen[mark:]:
            if time.time() > end or not pump(0.2):
                if want not in seen[mark:]:
                    failed = text
                break
        if failed:
            break
        mark = seen.index(want, mark) + len(want)
    elif what == "send":
        os.write(fd, text.encode().decode("unicode_escape").encode("latin-1"))
    elif what == "resize":
        resize(*[int(x) for x in text.split("x")])
        os.kill(pid, signal.SIGWINCH)
    elif what == "pause":
        end = time.time() + float(text)
        while time.time() < end:
            pump(0.05)

end = time.time() + (1 if failed else 15)
while time.time() < end and pump(0.2):
    pass
done, status = os.waitpid(pid, os.WNOHANG)
if done == 0:
    time.sleep(0.2)
    done, status = os.waitpid(pid, os.WNOHANG)
if done == 0:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    status = None
text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode("utf-8", "replace"))
sys.stdout.write(text)
sys.stdout.flush()
if failed is not None:
    sys.stderr.write("dialogue.py: did not see %r\n" % failed)
    sys.exit(99)
sys.exit(98 if status is None else os.waitstatus_to_exitcode(status) & 255)
