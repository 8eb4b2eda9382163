"""Runs one script after the other in this interpreter, each as if it were alone.

A script is asked for by one line of JSON on descriptor 3 and answered by one on descriptor 4. What one
script changes is put back before the next: environment, directory, arguments, search path, standard
streams, globals, signal handlers, hooks, warning filters, the root logger, random numbers, modules from
its own folder. What cannot be put back, running threads, ends the interpreter. Imported modules stay, with
whatever state they keep: that is what makes it warm. Python 3.8 or newer.
"""

import atexit
import builtins
import gc
import json
import linecache
import os
import signal
import sys
import threading
import types
import warnings

ASKS, ANSWERS = 3, 4


class Exits:
    """Keeps the exit handlers of scripts apart from those of modules, which stay until the very end."""

    def __init__(self):
        self.of_script = []
        self.register_for_good, self.unregister_for_good = atexit.register, atexit.unregister
        atexit.register, atexit.unregister = self.register, self.unregister

    def register(self, function, *args, **kwargs):
        if getattr(function, "__module__", None) == "__main__":
            self.of_script.append((function, args, kwargs))
            return function
        return self.register_for_good(function, *args, **kwargs)

    def unregister(self, function):
        self.of_script = [entry for entry in self.of_script if entry[0] != function]
        self.unregister_for_good(function)

    def run(self):
        while self.of_script:
            function, args, kwargs = self.of_script.pop()
            try:
                function(*args, **kwargs)
            except BaseException:
                sys.excepthook(*sys.exc_info())


class Clean:
    """How everything was before the first script, and how to get back there."""

    def __init__(self):
        self.environ = os.environ
        self.variables = dict(os.environ)
        self.path = list(sys.path)
        self.main = sys.modules["__main__"]
        self.hooks = [
            (sys, "excepthook"),
            (sys, "displayhook"),
            (sys, "unraisablehook"),
            (threading, "excepthook"),
            (builtins, "print"),
            (builtins, "open"),
            (builtins, "input"),
        ]
        self.hooks = [(owner, name, getattr(owner, name)) for owner, name in self.hooks]
        self.handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.filters = list(warnings.filters)
        self.recursion = sys.getrecursionlimit()
        self.threads = set(threading.enumerate())
        self.home = os.getcwd()

    def threads_left(self):
        return [thread for thread in threading.enumerate() if thread not in self.threads]

    def restore(self, folder):
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        os.chdir(self.home)
        os.umask(self.umask)
        os.environ = self.environ
        os.environ.clear()
        os.environ.update(self.variables)
        sys.argv, sys.path = [""], list(self.path)
        sys.modules["__main__"] = self.main
        sys.settrace(None)
        sys.setprofile(None)
        sys.setrecursionlimit(self.recursion)
        for owner, name, value in self.hooks:
            setattr(owner, name, value)
        warnings.filters[:] = self.filters
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(folder + os.sep):
                del sys.modules[name]
        linecache.clearcache()
        if "logging" in sys.modules:
            logging = sys.modules["logging"]
            root = logging.getLogger()
            for handler in list(root.handlers):
                root.removeHandler(handler)
            root.setLevel(logging.WARNING)
            logging.disable(logging.NOTSET)
        if "random" in sys.modules:
            sys.modules["random"].seed()
        gc.enable()
        gc.collect()


def connect(path):
    """Makes the standard streams those of one script."""
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(path, os.O_WRONLY | os.O_APPEND) if path else os.dup(nothing)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)
    # Never closed from here: modules may have kept an older one, and it writes to the same descriptor.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = writer(1)
    sys.stderr = sys.__stderr__ = writer(2)


def writer(descriptor):
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def flush(*streams):
    for stream in (sys.stdout, sys.stderr) + streams:
        try:
            stream.flush()
        except Exception:
            pass  # a script may have closed or replaced it


def exit_code(error):
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def execute(task, main):
    """Runs the script in this module and answers its exit code."""
    script = task["script"]
    try:
        with open(script, "rb") as file:
            code = compile(file.read(), script, "exec", dont_inherit=True)
        exec(code, main.__dict__)
        return 0
    except SystemExit as error:
        return exit_code(error)
    except BaseException as error:
        # The first frame is ours.
        trace = error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def run(task, clean, exits):
    """Answers the exit code of a script and whether the interpreter can be used again."""
    me, folder = os.getpid(), task["folder"]
    connect(task["log"])
    streams = sys.stdout, sys.stderr
    os.chdir(folder)
    os.environ.update(task["variables"])
    sys.argv = [task["script"]]
    sys.path = [folder] + clean.path
    main = types.ModuleType("__main__")
    main.__file__ = task["script"]
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    code = execute(task, main)
    if os.getpid() == me and not clean.threads_left():
        exits.run()
    flush(*streams)
    if os.getpid() != me:
        os._exit(code)  # a fork of the script came to the script's end
    if clean.threads_left():
        return code, False
    main.__dict__.clear()
    clean.restore(folder)
    flush(*streams)
    connect(None)
    return code, True


def serve():
    os.set_inheritable(ASKS, False)
    os.set_inheritable(ANSWERS, False)
    clean, exits = Clean(), Exits()
    with open(ASKS, encoding="utf-8") as asks:
        for line in asks:
            code, again = run(json.loads(line), clean, exits)
            answer = json.dumps({"exit": code, "again": again}) + "\n"
            os.write(ANSWERS, answer.encode())
            if not again:
                # What is left ends as it would at the end of a script of its own: threads are waited for.
                exits.register_for_good(exits.run)
                return


serve()
