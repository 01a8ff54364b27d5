#!/usr/bin/env python3
"""The ten disks' smartctl --json -x outputs, in the spirit of the story: one bad disk, three with small faults.

usage: smart.py OUT-FOLDER

Synthetic: the shape is smartctl's, the numbers are made up. Seagate's attributes 1 and 7 are packed as the
drives pack them (errors in the upper bits, operations in the lower 32), so that a naive ranking is misled.
"""

import json
import pathlib
import sys

HOURS = 20411
FLAGS = {"value": 50, "string": "-O--CK ", "prefailure": False, "updated_online": True}
NAMES = {
    1: "Raw_Read_Error_Rate", 3: "Spin_Up_Time", 4: "Start_Stop_Count", 5: "Reallocated_Sector_Ct",
    7: "Seek_Error_Rate", 9: "Power_On_Hours", 10: "Spin_Retry_Count", 12: "Power_Cycle_Count",
    187: "Reported_Uncorrect", 188: "Command_Timeout", 194: "Temperature_Celsius",
    196: "Reallocated_Event_Count", 197: "Current_Pending_Sector", 198: "Offline_Uncorrectable",
    199: "UDMA_CRC_Error_Count", 200: "Multi_Zone_Error_Rate",
}
THRESH = {1: 51, 5: 36, 7: 30, 10: 97}
SEAGATE = [1, 3, 4, 5, 7, 9, 10, 12, 187, 188, 194, 197, 198, 199]
WD = [1, 3, 4, 5, 7, 9, 10, 12, 194, 196, 197, 198, 199, 200]

# disk: (vendor, serial, faults by attribute, media errors logged as (hours, lba), last self-test).
DISKS = {
    "sda": ("st", "9QJ1A0F3", {}, [], "short"),
    "sdb": ("wd", "WD-WMATV1170121", {5: 4, 196: 4}, [], "short"),
    "sdc": ("wd", "WD-WMATV1170654", {}, [], "short"),
    "sdd": ("st", "9QJ1B27C", {}, [], "short"),
    "sde": ("st", "9QJ1B9KD", {5: 188, 187: 41, 197: 23, 198: 23},
            [(20401, 81223104), (20402, 81223105), (20406, 81230990)], "failed"),
    "sdf": ("wd", "WD-WMATV2286410", {}, [], "short"),
    "sdg": ("wd", "WD-WMATV2286733", {197: 1, 200: 3}, [], "short"),
    "sdh": ("st", "9QJ1C41M", {5: 12}, [], "short"),
    "sdi": ("st", "9QJ1C77P", {}, [], "short"),
    "sdj": ("st", "9QJ1A0XY", {}, [], "short"),
}
MODELS = {
    "st": ("Seagate Barracuda ES.2", "ST3500320NS", "SN06"),
    "wd": ("Western Digital RE3 Serial ATA", "WDC WD5002ABYS-02B1B0", "02.03B03"),
}


def raw_of(vendor, number, faults, seed):
    if number in faults:
        return faults[number]
    if vendor == "st" and number == 1:
        return 100_000_000 + seed * 7_919_131
    if vendor == "st" and number == 7:
        return 800_000_000 + seed * 3_133_731
    return {3: 4016, 4: 31 + seed, 9: HOURS - seed, 12: 30 + seed, 194: 28 + seed % 5}.get(number, 0)


def attribute(vendor, number, faults, seed):
    raw = raw_of(vendor, number, faults, seed)
    value = 100 if number not in (1, 7) else 82
    if number == 194:
        value = 115
    elif number in faults:
        value = max(1, 100 - faults[number] // 4)
    flags = dict(FLAGS, prefailure=number in (1, 3, 5, 7, 10))
    return {
        "id": number, "name": NAMES[number], "value": value, "worst": min(value, 100),
        "thresh": THRESH.get(number, 0), "when_failed": "", "flags": flags,
        "raw": {"value": raw, "string": str(raw)},
    }


def error(number, hours, lba):
    return {
        "error_number": number, "lifetime_hours": hours,
        "completion_registers": {"error": 64, "status": 81, "count": 8, "lba": lba, "device": 64},
        "error_description": f"Error: UNC 8 sectors at LBA = 0x{lba:08x} = {lba}",
        "previous_commands": [{
            "registers": {"command": 37, "features": 0, "count": 8, "lba": lba, "device": 224, "device_control": 8},
            "powerup_milliseconds": 3_600_000, "command_name": "READ DMA EXT",
        }],
    }


def self_tests(kind, hours):
    passed = {"value": 0, "string": "Completed without error", "passed": True}
    entries = [
        {"type": {"value": 1, "string": "Short offline"}, "status": passed, "lifetime_hours": hours - 24 * day - 9}
        for day in range(5)
    ]
    if kind == "failed":
        entries[0]["status"] = {
            "value": 118, "string": "Completed: read failure", "remaining_percent": 60, "passed": False,
        }
        entries[0]["lba"] = 81223104
    failed = 1 if kind == "failed" else 0
    return {"revision": 1, "count": len(entries), "error_count_total": failed, "error_count_outdated": 0,
            "table": entries}


def report(disk, seed):
    vendor, serial, faults, errors, test = DISKS[disk]
    family, model, firmware = MODELS[vendor]
    hours = HOURS - seed
    logged = [error(n + 1, h, lba) for n, (h, lba) in enumerate(errors)][::-1]
    return {
        "json_format_version": [1, 0],
        "smartctl": {
            "version": [7, 4], "platform_info": "x86_64-linux", "build_info": "(local build)",
            "argv": ["smartctl", "--json", "-x", f"/dev/{disk}"], "exit_status": 192 if errors else 0,
        },
        "local_time": {"time_t": 1368997200, "asctime": "Sun May 19 21:00:00 2013 UTC"},
        "device": {"name": f"/dev/{disk}", "info_name": f"/dev/{disk} [SAT]", "type": "sat", "protocol": "ATA"},
        "model_family": family, "model_name": model, "serial_number": serial, "firmware_version": firmware,
        "user_capacity": {"blocks": 976773168, "bytes": 500107862016},
        "logical_block_size": 512, "rotation_rate": 7200,
        "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": True},
        "ata_smart_data": {"self_test": {"status": {"value": 118 if test == "failed" else 0,
                                                    "string": "completed", "passed": test != "failed"}}},
        "ata_smart_attributes": {
            "revision": 16,
            "table": [attribute(vendor, n, faults, seed) for n in (SEAGATE if vendor == "st" else WD)],
        },
        "power_on_time": {"hours": hours},
        "power_cycle_count": 30 + seed,
        "temperature": {"current": 28 + seed % 5},
        "ata_smart_error_log": {"extended": {
            "revision": 1, "sectors": 5, "count": len(logged), "logged_count": len(logged), "table": logged,
        }},
        "ata_smart_self_test_log": {"extended": dict(self_tests(test, hours), sectors=1)},
    }


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for seed, disk in enumerate(DISKS):
        (out / f"{disk}.json").write_text(json.dumps(report(disk, seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
