"""Entry of the policy pack: `pulumi preview --policy-pack infra/policies/pack`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pulumi_policy import PolicyPack

from infra.policies import POLICIES
from infra.policies.engine import policies

PolicyPack(name="ai-agents-platform", policies=policies(POLICIES))
