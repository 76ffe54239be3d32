"""Since which systemd each directive of the units is known; an older one ignores it, and nobody reads what it says.

From systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5) and systemd's NEWS. A test holds
the table against systemd/*.service.
"""

# Without them nothing of the units' isolation holds: ProtectSystem=strict and ProtectKernelTunables came with 232.
OLDEST = 232

# Known to OLDEST and before.
_ALWAYS = """
    After AmbientCapabilities Before BindsTo CapabilityBoundingSet ConditionPathExists Conflicts CPUQuota
    CPUSchedulingPolicy CPUWeight DefaultDependencies Delegate Description DeviceAllow DevicePolicy Documentation
    Environment EnvironmentFile ExecReload ExecStart ExecStartPost ExecStartPre ExecStop ExecStopPost Group
    IgnoreSIGPIPE InaccessiblePaths IOSchedulingClass IOWeight KillMode KillSignal LimitAS LimitCORE LimitMEMLOCK
    LimitNOFILE LimitNPROC MemoryDenyWriteExecute MemoryHigh MemoryMax MemorySwapMax Nice NoNewPrivileges
    NotifyAccess OnCalendar OnFailure OOMScoreAdjust PartOf Persistent PrivateDevices PrivateNetwork PrivateTmp
    PrivateUsers ProtectControlGroups ProtectHome ProtectKernelModules ProtectKernelTunables ProtectSystem
    RandomizedDelaySec ReadOnlyPaths ReadWritePaths RemainAfterExit RemoveIPC Requires RequiresMountsFor Restart
    RestartForceExitStatus RestartPreventExitStatus RestartSec RestrictAddressFamilies RestrictRealtime
    RuntimeMaxSec SendSIGKILL Slice StandardError StandardInput StandardOutput StartLimitBurst StartLimitIntervalSec
    SuccessExitStatus SupplementaryGroups SyslogIdentifier SystemCallArchitectures SystemCallErrorNumber
    SystemCallFilter TasksMax TimeoutSec TimeoutStartSec TimeoutStopSec Type UMask Unit User WantedBy Wants
    WatchdogSec WorkingDirectory
"""
ALWAYS = frozenset(_ALWAYS.split())

SINCE = {
    "BindPaths": 233, "BindReadOnlyPaths": 233, "RestrictNamespaces": 233, "IPAddressAllow": 235, "IPAddressDeny": 235,
    "KeyringMode": 235, "LockPersonality": 235, "TemporaryFileSystem": 238, "PrivateMounts": 239, "WatchdogSignal": 240,
    "FinalKillSignal": 240, "ProtectHostname": 242, "RestrictSUIDSGID": 242, "OOMPolicy": 243, "ExecCondition": 243,
    "ProtectKernelLogs": 244, "CleanKillSignal": 244, "ProtectClock": 245, "TimeoutStartFailureMode": 246,
    "TimeoutStopFailureMode": 246, "ManagedOOMMemoryPressure": 247, "ManagedOOMSwap": 247, "ProcSubset": 247,
    "ProtectProc": 247, "SystemCallLog": 247, "ExecPaths": 248, "NoExecPaths": 248, "PrivateIPC": 248,
    "SocketBindAllow": 249, "SocketBindDeny": 249, "RestrictFileSystems": 250, "RestrictNetworkInterfaces": 250,
    "MemoryZSwapMax": 253, "MemoryKSM": 254, "RestartMaxDelaySec": 254, "RestartMode": 254, "RestartSteps": 254,
    "CoredumpReceive": 255, "PrivatePIDs": 257,
}  # fmt: skip

# Those of SINCE that the units use.
_USED = """
    ExecCondition IPAddressDeny KeyringMode LockPersonality OOMPolicy PrivateMounts ProcSubset ProtectClock
    ProtectHostname ProtectKernelLogs ProtectProc RestrictNamespaces RestrictSUIDSGID
"""
USED = frozenset(_USED.split())
# Those that nothing is lost without: a unit that fails is then tried again at one pace.
SPARED = frozenset({"RestartMaxDelaySec", "RestartMode", "RestartSteps"})


def unknown_to(version: int) -> list[str]:
    """Return the directives of the units that a systemd ignores, with the version that knows each."""
    return [f"{name} ({SINCE[name]})" for name in sorted(USED) if SINCE[name] > version]


def newest() -> int:
    """Return the version that knows all of them."""
    return max(SINCE[name] for name in USED)
