"""The messages whose bytes are the contract, one per kind."""

from meterhouse_agent import wire

INVENTORY = wire.Inventory(
    devices=[
        wire.Device(
            device=f"gpu-{n}",
            vendor="nvidia",
            accelerator_model="nvidia-h100-80gb-hbm3",
            serial=f"165032300{n}",
            memory_total_bytes=85899345920,
            capabilities=["energy_counter", "gpm"],
        )
        for n in range(2)
    ],
    meters=["utility", "water"],
    engines=["chat"],
    sensors=["inlet-1", "leak-1"],
)

REPORT = wire.Report(
    schema=1,
    site="site-a",
    node="node-1",
    start_seconds=1780000000,
    length_seconds=5,
    inventory_hash=wire.inventory_hash(INVENTORY),
    accelerators=wire.Accelerators(
        state_milliseconds={"active": [5000, 1000], "held_idle": [0, 3000]},
        state_joules={"active": [3412.417, 512.0], "held_idle": [0.0, None]},
        energy_method=["counter", "integrated"],
        unhealthy_reasons={1: "lost"},
        power_watts=[682.483, None],
        power_watts_max=[699.001, None],
        utilization_ratio=[0.98, 0.25],
        sm_activity_ratio=[0.71, None],
        tensor_activity_ratio=[0.42, None],
        memory_used_bytes=[73014444032, 1073741824],
        temperature_celsius=[61.0, 38.5],
        memory_temperature_celsius=[70.0, None],
        sm_clock_hertz=[1980000000, 345000000],
        throttled_milliseconds=[200, 0],
        throttled_power_milliseconds=[200, 0],
        throttled_thermal_milliseconds=[50, 0],
        ecc_corrected_errors=[0, 3],
        ecc_uncorrected_errors=[0, 0],
        xids={1: [31, 79]},
    ),
    host=wire.Host(
        covered_milliseconds=5000,
        energy_joules=7012.5,
        cpu_energy_joules=811.25,
        cpu_utilization_ratio=0.0,
        memory_used_bytes=34359738368,
        temperature_celsius=54.0,
    ),
    meters=[
        wire.Meter(
            meter="utility",
            covered_milliseconds=5000,
            energy_joules=54000.0,
            power_watts=10800.0,
            power_watts_max=11020.0,
            registers=[
                wire.Register(at_milliseconds=1780000000020, register_joules=3.6e9, epoch=1)
            ],
        ),
        wire.Meter(
            meter="water",
            covered_milliseconds=5000,
            volume_litres=27.5,
            registers=[
                wire.Register(at_milliseconds=1780000000030, register_litres=812500.5, epoch=0)
            ],
        ),
    ],
    engines=[
        wire.Engine(
            engine="chat",
            served_model="llama-3.3-70b",
            covered_milliseconds=5000,
            input_tokens=8000,
            cached_input_tokens=6400,
            output_tokens=1000,
            requests={"stop": 3, "abort": 1},
            running_requests=4.0,
            waiting_requests=0.0,
            kv_cache_used_ratio=0.31,
            latency={
                "ttft": wire.Histogram(edges_seconds=[0.1, 0.5], counts=[2, 1, 1], sum_seconds=1.92)
            },
        )
    ],
    spans=[
        wire.Span(
            kind="node",
            thing="node-1",
            quantity="energy_joules",
            device="gpu-1",
            from_milliseconds=1779999990000,
            to_milliseconds=1780000001004,
            amount=1024.5,
            method="interpolated",
            reason="restart",
        )
    ],
    sensors=[
        wire.Sensor(
            sensor="inlet-1",
            covered_milliseconds=5000,
            temperature_celsius=23.4,
            temperature_celsius_max=24.0,
        ),
        wire.Sensor(sensor="leak-1", covered_milliseconds=5000, contact_milliseconds=1200),
    ],
    waiting=12,
    waiting_since_seconds=1779999600,
)

RECEIPT = wire.Receipt(
    schema=1,
    node="node-1",
    length_seconds=5,
    stored=[(1779999600, 1779999655), (1780000000, 1780000000)],
    refused=[wire.Refusal(start_seconds=1779999660, reason="malformed", final=True)],
    credit=40,
    inventory_wanted=["0123456789abcdef"],
)

STATUS = wire.Status(
    schema=1,
    site="site-a",
    node="node-1",
    state="online",
    version="0.1.0",
    at_seconds=1780000000,
    inventory_hash=wire.inventory_hash(INVENTORY),
    inventory=INVENTORY,
    sources=[
        wire.SourceState(source="nvml", state="ok"),
        wire.SourceState(source="modbus", state="failed", detail="gateway 10.0.0.9:502: no answer"),
    ],
)
