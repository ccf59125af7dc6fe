import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small networks on shared cores: a second thread would only wait."""
    torch.set_num_threads(1)
