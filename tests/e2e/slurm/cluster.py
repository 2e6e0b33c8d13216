"""A real SLURM on one machine, out of one folder: ``python cluster.py up DIR`` and ``down DIR``; for tests.

No systemd, no cgroups, nothing outside DIR, as root or as a plain user, with Debian's packages. Each node is a slurmd
on its own port, under a name that is an address (127.0.0.1, 127.0.0.2, ...) so that it can be connected to, and claims
CPUs, memory and GPUs that need not exist. ``up`` prints the environment of the cluster's users as JSON; it repairs
what is dead, down or drained; its options count when DIR is new. Exit code 3: packages are missing, and which.

Every process of the cluster is known by its environment (SLURM_CONF of DIR): no pid file can be out of date.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core"}
LONGEST_FOLDER = 60  # the path of a unix socket has 108 bytes at most, and SLURM appends to DIR
PATIENCE = 30.0  # seconds for a daemon to answer
OUT_OF_MEMORY = 253  # SLURM's SIG_OOM, which it shows as exit code 0:125

SLURM_CONF = """\
ClusterName=harness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired: 5 s is the least, 120 s the default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=10
# An identifier of yesterday's cluster must not be one of today's: old job folders would answer for new jobs.
FirstJobId={first_job}
MaxJobCount=50000
MaxArraySize=20001
MinJobAge=43200
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={memory_per_cpu}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams={gather}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
EnforcePartLimits={part_limits}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
{accounting}
{nodes}
PartitionName=main Default=YES Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=1 GraceTime=10
PartitionName=high Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=2
"""

ACCOUNTING_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
{enforce}"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[slurmdbd]}
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm
"""


class Problem(Exception):
    """What went wrong, for standard error; ``code`` is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Process:
    """A living process of the cluster: a daemon's, or a slurmstepd (of no ``daemon``, no ``job``), or a job's."""

    pid: int
    program: str
    variables: Mapping[str, str]

    @property
    def daemon(self) -> str | None:
        return None if self.program == "slurmstepd" else self.variables.get("CLUSTER_DAEMON")

    @property
    def job(self) -> str:
        return self.variables.get("SLURM_JOB_ID", "")

    @property
    def node(self) -> str | None:
        return self.variables.get("SLURMD_NODENAME")

    @property
    def anonymous_memory(self) -> int:
        """In KB, which no other process shares (but for a fork's copies)."""
        with suppress(OSError):
            found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
            return int(found[1]) if found else 0
        return 0

    @property
    def memory_limit(self) -> float:
        """In KB, of the whole job on this node."""
        per_cpu = int(self.variables.get("SLURM_MEM_PER_CPU", 0)) * int(self.variables.get("SLURM_CPUS_ON_NODE", 0))
        return 1024 * (int(self.variables.get("SLURM_MEM_PER_NODE", 0)) or per_cpu) or float("inf")


@dataclass(frozen=True)
class Cluster:
    """The cluster in a folder as it was made; nothing is remembered of what runs."""

    folder: Path
    nodes: list[str]
    ports: Mapping[str, int]
    accounting: bool
    limits: str

    @property
    def environment(self) -> dict[str, str]:
        """What the cluster's users have to set."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf"}

    @property
    def surroundings(self) -> dict[str, str]:
        """This process's environment, without what belongs to another cluster."""
        foreign = re.compile(r"(SLURM|SBATCH|SRUN|SALLOC|SINFO|SQUEUE|SACCT|SCANCEL|SCONTROL|CLUSTER_)")
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        return kept | self.environment | {"MYSQL_UNIX_PORT": f"{self.folder}/database/socket"}

    @property
    def daemons(self) -> dict[str, list[str]]:
        """The command of each daemon, in the order of their start."""
        at = self.folder
        files = [f"--{file}-file={at}/munge.{file}" for file in ("key", "seed", "pid")]
        commands = {"munged": ["munged", "--foreground", "--force", f"--socket={at}/munge.socket", *files]}
        if self.accounting:
            # Nobody is asked for a password: only this user reaches the socket.
            files = [f"--datadir={at}/database/data", f"--tmpdir={at}/database", f"--pid-file={at}/database/pid"]
            private = ["--skip-grant-tables", "--skip-networking", f"--socket={at}/database/socket"]
            small = ["--innodb-buffer-pool-size=48M", "--innodb-log-file-size=8M", "--performance-schema=OFF"]
            # Dirty pages are written at once: a kill soon after the first start would leave no database otherwise.
            hasty = ["--innodb-flush-log-at-trx-commit=0", "--innodb-max-dirty-pages-pct=0", "--skip-log-bin"]
            user = ["--user=root"] if os.getuid() == 0 else []
            commands["mariadbd"] = ["mariadbd", "--no-defaults", *files, *private, *small, *hasty, *user]
            commands["slurmdbd"] = ["slurmdbd", "-D"]
        commands["slurmctld"] = ["slurmctld", "-D", "-i"]
        if self.limits == "oom":
            commands["guard"] = [sys.executable, str(Path(__file__).resolve()), "guard", str(at)]
        return commands | {f"slurmd-{node}": ["slurmd", "-D", "-N", node] for node in self.nodes}

    def processes(self) -> list[Process]:
        """The daemons and the jobs, not the cluster's users."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):  # not a process, gone by now, or somebody else's
                pid, text = int(entry.name), (entry / "environ").read_text(errors="replace")
                variables = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
                known = "CLUSTER_DAEMON" in variables or "SLURM_JOB_ID" in variables
                if known and self.environment.items() <= variables.items():
                    found.append(Process(pid, (entry / "comm").read_text().strip(), variables))
        return found

    def jobs(self) -> list[Process]:
        """What runs for jobs, slurmstepds among them."""
        return [process for process in self.processes() if not process.daemon]

    def tasks(self, job: str | None = None) -> list[Process]:
        """What jobs run, or one job."""
        return [process for process in self.processes() if process.job and job in (None, process.job)]

    def of_daemon(self, daemon: str) -> list[Process]:
        """One process and its helpers, or none."""
        return [process for process in self.processes() if process.daemon == daemon]

    def ask(self, *command: str) -> str | None:
        """What a command of SLURM's prints; None if it fails or hangs."""
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, env=self.surroundings, capture_output=True, text=True, timeout=10)
            return done.stdout if done.returncode == 0 else None
        return None

    def wait(self, what: str, daemon: str, ready: Callable[[], bool]) -> None:
        if not until(ready, PATIENCE):
            raise Problem(f"waited {PATIENCE:.0f} s for {what}. {self.tail(daemon)}")

    def tail(self, daemon: str) -> str:
        log = self.folder / f"{daemon}.log"
        if not log.exists():
            return f"There is no {log}: was the folder removed while the cluster was up?"
        return "\n".join([f"The end of {log}:", *log.read_text(errors="replace").splitlines()[-15:]])

    def start(self, daemon: str) -> None:
        """Starts a daemon unless it runs, and waits until it answers (but for a slurmd: `up` waits for the nodes)."""
        if self.of_daemon(daemon):
            return
        node = {"SLURMD_NODENAME": daemon.removeprefix("slurmd-")} if daemon.startswith("slurmd-") else {}
        environment = self.surroundings | {"CLUSTER_DAEMON": daemon} | node
        with (self.folder / f"{daemon}.log").open("ab") as log:
            process = subprocess.Popen(
                self.daemons[daemon],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(f"{daemon} to answer", daemon, lambda: process.poll() is not None or self.answers(daemon))
        if process.poll() is not None:
            raise Problem(f"{daemon} ended with exit code {process.returncode}. {self.tail(daemon)}")

    def answers(self, daemon: str) -> bool:
        match daemon:
            case "munged":
                return self.ask("munge", "--no-input", f"--socket={self.folder}/munge.socket") is not None
            case "mariadbd":
                return connects(socket.AF_UNIX, f"{self.folder}/database/socket")
            case "slurmdbd":
                return connects(socket.AF_INET, ("127.0.0.1", self.ports["slurmdbd"]))
            case "slurmctld":
                return self.ask("scontrol", "ping") is not None
        return True

    def up(self) -> None:
        for daemon in self.daemons:
            self.start(daemon)
            if daemon == "slurmdbd" and "harness" not in (self.ask("sacctmgr", "-nP", "show", "cluster") or ""):
                self.ask("sacctmgr", "-i", "add", "cluster", "harness")
        for node in self.nodes:
            self.wait(f"node {node} to be idle", f"slurmd-{node}", partial(self.usable, node))

    def usable(self, node: str) -> bool:
        """Whether a node can run jobs; if it is down or drained, it is told to come back."""
        state = (self.ask("sinfo", "--noheader", "--partition=main", f"--nodes={node}", "--format=%T") or "").strip()
        if state.startswith(("down", "drain", "fail")):
            self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return state in ("idle", "mixed", "allocated", "completing")

    def down(self) -> None:
        """Cancels the jobs, so that a later `up` does not run them, and ends every process."""
        if self.of_daemon("slurmctld") and self.of_daemon("munged"):
            for partition in ("main", "high"):
                self.ask("scancel", f"--partition={partition}")
            until(lambda: not self.jobs(), 1)  # one that ignores the signal is killed
            kill(self.jobs)
            until(lambda: not self.ask("squeue", "--noheader"), 3)
        for daemon in reversed(self.daemons):
            self.stop(daemon)
        kill(self.processes)

    def stop(self, daemon: str) -> None:
        """Asks a daemon to end, and kills it if it does not."""
        for process in self.of_daemon(daemon):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        until(lambda: not self.of_daemon(daemon), 2)
        kill(lambda: self.of_daemon(daemon))

    def restart_controller(self, gently: bool) -> None:
        """Jobs run on. Killed, it forgets its last 5 seconds: a job that began in them is launched twice, then held."""
        if gently:
            self.stop("slurmctld")
        kill(lambda: self.of_daemon("slurmctld"))
        self.start("slurmctld")

    def kill_node(self, node: str) -> None:
        if node not in self.nodes:
            raise Problem(f"there is no node {node}; the nodes are {', '.join(self.nodes)}")
        kill(lambda: [process for process in self.processes() if process.node == node])
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed by a test")

    def guard(self) -> None:
        """Ends jobs that are over their memory, for ever: what the kernel does where there are cgroups.

        SLURM's own sampling (limits: kill) ends them too, but as FAILED. Here the controller is told what a slurmstepd
        tells it of a kill by the kernel: the state is OUT_OF_MEMORY, the reason OutOfMemory.
        """
        slurm = ctypes.CDLL(str(next(Path("/usr/lib").glob("*/slurm-wlm/libslurmfull.so"))), mode=ctypes.RTLD_GLOBAL)
        slurm.slurm_init(None)
        while True:
            jobs = defaultdict(list)
            for process in self.tasks():
                jobs[process.job, process.node].append(process)
            for (job, _), found in jobs.items():
                over = sum(process.anonymous_memory for process in found) > found[0].memory_limit
                if over and slurm.slurm_complete_job(int(job), OUT_OF_MEMORY) == 0:
                    kill(partial(self.tasks, job))
            time.sleep(0.3)


def until(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not (came := ready()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return came


def kill(find: Callable[[], list[Process]]) -> None:
    """Kills until none is found, SLURM's own first: none may live to report how a job's process ended."""

    def none_left() -> bool:
        found = sorted(find(), key=lambda process: not process.program.startswith("slurm"))
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return not found

    if not until(none_left, PATIENCE):
        raise Problem(f"these do not end: {find()}")


def connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


def free_ports(count: int) -> list[int]:
    """Below those that the kernel hands out, which would be taken while a daemon is down for a moment."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as server, suppress(OSError):
            server.bind(("", port))
            ports += [port] if port not in ports else []
    return ports


def create(folder: Path, options: argparse.Namespace) -> None:
    """Writes the configuration; ``cluster.json`` comes last and makes the folder a cluster."""
    nodes = [f"127.0.0.{number + 1}" for number in range(options.nodes)]
    owners = ["slurmctld", "slurmdbd", *nodes]
    ports = dict(zip(owners, free_ports(len(owners)), strict=True))
    host = socket.gethostname().split(".")[0]
    memory = options.memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    claim = f"NodeHostname={host} NodeAddr=127.0.0.1 CPUs={options.cpus} RealMemory={memory} Gres=gpu:{options.gpus}"
    enforce = "AccountingStorageEnforce=limits,qos" if options.enforce else ""
    common = {"folder": folder, "host": host, "user": pwd.getpwuid(os.getuid()).pw_name, "ports": ports}
    slurm = SLURM_CONF.format(
        **common,
        nodes="\n".join(f"NodeName={node} Port={ports[node]} {claim}" for node in nodes),
        first_job=1 + int(time.time() * 10) % 60_000_000,
        memory_per_cpu=max(1, min(1024, memory // options.cpus)),
        gather="OverMemoryKill" if options.limits == "kill" else "NoShared",
        part_limits=options.part_limits,
        accounting=ACCOUNTING_CONF.format(**common, enforce=enforce) if options.accounting else "",
    )
    for name in ["state", "gpu", "database/data", *(f"spool-{node}" for node in nodes)]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    devices = [folder / "gpu" / str(number) for number in range(options.gpus)]
    for device in devices:
        device.symlink_to("/dev/null")
    gpus = [f"Name=gpu File={device} Flags=nvidia_gpu_env" for device in devices]
    made = {"nodes": nodes, "ports": ports, "accounting": options.accounting, "limits": options.limits}
    if options.accounting:
        create_database(folder)
    write(folder / "slurm.conf", slurm)
    write(folder / "gres.conf", "\n".join(["AutoDetect=off", *gpus, ""]))
    write(folder / "slurmdbd.conf", SLURMDBD_CONF.format(**common), mode=0o600)
    write(folder / "munge.key", secrets.token_hex(64), mode=0o600)
    write(folder / "cluster.json", json.dumps(made))


def create_database(folder: Path) -> None:
    """MariaDB's own tables: it keeps procedures in them, by which SLURM looks up what an account is allowed."""
    server = Path(str(shutil.which("mariadbd")))
    tables = (server.parents[1] / "share/mysql/mysql_system_tables.sql").read_text()
    user = ["--user=root"] if os.getuid() == 0 else []
    subprocess.run(
        [
            server,
            "--no-defaults",
            "--bootstrap",
            f"--datadir={folder}/database/data",
            f"--tmpdir={folder}/database",
            *user,
        ],
        input=f"create database mysql;\nuse mysql;\n{tables}",
        text=True,
        check=True,
        capture_output=True,
    )


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.touch(mode)
    path.write_text(text)


def open_cluster(folder: Path) -> Cluster:
    return Cluster(folder, **json.loads((folder / "cluster.json").read_text()))


def check(folder: Path, options: argparse.Namespace) -> None:
    """Raises Problem where the command cannot work."""
    new = not (folder / "cluster.json").exists()
    if len(str(folder)) > LONGEST_FOLDER or not re.fullmatch(r"[\w./+-]+", str(folder)):
        raise Problem(
            f"DIR has {LONGEST_FOLDER} characters (for sockets) of a-z, A-Z, 0-9, . / + - _ at most: {folder}"
        )
    if options.command != "up" and new:
        raise Problem(f"{folder} is not a cluster; make one: python cluster.py up {folder}")
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise Problem(f"{folder} belongs to somebody else")
    accounting = options.accounting if new else open_cluster(folder).accounting
    needed = PACKAGES | (ACCOUNTING_PACKAGES if accounting else {})
    if missing := sorted({package for program, package in needed.items() if not shutil.which(program)}):
        raise Problem(f"no SLURM here: apt-get install -y --no-install-recommends {' '.join(missing)}", code=3)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One command at a time; the daemons do not inherit the lock."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = ["up", "down", "env", "restart-controller", "kill-node", "guard"]
    parser.add_argument("command", choices=commands, help="guard: what `up` starts for --limits oom")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("node", metavar="NODE", nargs="?", help="which node kill-node kills")
    parser.add_argument("--gently", action="store_true", help="restart-controller: let it save its state first")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=8, help="of each node; they need not exist")
    parser.add_argument("--gpus", type=int, default=2, help="of each node; none of them exists")
    parser.add_argument("--memory", type=int, metavar="MB", help="of each node; default: the machine's")
    parser.add_argument("--accounting", action="store_true", help="slurmdbd and MariaDB, so that sacct works")
    parser.add_argument("--enforce", action="store_true", help="with --accounting: limits of accounts and QOS hold")
    parser.add_argument(
        "--limits",
        choices=["oom", "kill", "none"],
        default="oom",
        help="a job over its memory ends as OUT_OF_MEMORY, as on a cluster with cgroups; as FAILED; not at all",
    )
    parser.add_argument("--part-limits", choices=["NO", "ANY", "ALL"], default="NO", help="SLURM's EnforcePartLimits")
    return parser.parse_args()


def main() -> None:
    options = parse()
    folder = options.folder.absolute()
    check(folder, options)
    if options.command == "guard":
        open_cluster(folder).guard()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (folder / "cluster.json").exists():
            create(folder, options)
        cluster = open_cluster(folder)
        match options.command:
            case "up":
                cluster.up()
            case "down":
                cluster.down()
            case "restart-controller":
                cluster.restart_controller(options.gently)
            case "kill-node":
                cluster.kill_node(options.node)
    if options.command in ("up", "env"):
        sys.stdout.write(json.dumps(cluster.environment) + "\n")


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where a plain user's shell does not look for daemons
    try:
        main()
    except Problem as problem:
        sys.stderr.write(f"cluster: {problem}\n")
        sys.exit(problem.code)
