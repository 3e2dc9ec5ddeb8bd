//! Runs a block's transactions one after the other under the chain's rules.
//!
//! Who may send is not checked here: the ledger reads that from the registry's storage in the parent's state.

use std::collections::BTreeMap;

use alloy_consensus::{Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction, TxType};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes, Log, TxKind, U256};
use revm::{
    ExecuteEvm, MainBuilder,
    context::{BlockEnv, CfgEnv, Evm, TxEnv},
    context_interface::{
        block::BlobExcessGasAndPrice,
        result::{EVMError, ExecutionResult, InvalidTransaction},
    },
    handler::{EthFrame, Handler, MainnetContext, MainnetHandler, instructions::EthInstructions},
    interpreter::interpreter::EthInterpreter,
    primitives::{eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
};

use hansa_keccak::digest_all;
use hansa_types::{DcId, SignedTransaction, is_deployer, member_gas_quota};

use crate::{
    AccountState, HISTORY_STORAGE_ADDRESS, SYSTEM_ADDRESS, StateChanges, StateError, StateView,
    block_state::BlockState,
    call::CallOutcome,
    code_cache::CodeCache,
    signatures::{Precompiles, Signatures},
};

/// Gas of a system call; far more than the history contract or the genesis initialisation needs.
const SYSTEM_CALL_GAS: u64 = 1_000_000_000_000;

type MachineContext<V> = MainnetContext<BlockState<V>>;

pub(crate) type Machine<V> = Evm<
    MachineContext<V>,
    (),
    EthInstructions<EthInterpreter, MachineContext<V>>,
    Precompiles,
    EthFrame<EthInterpreter>,
>;

/// What a block tells its transactions about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEnvironment {
    /// The height; 0 runs no system call.
    pub number: u64,
    /// Unix time in seconds.
    pub timestamp: u64,
    /// Hash of the block before.
    pub parent_hash: B256,
    /// What `PREVRANDAO` returns.
    pub prevrandao: B256,
    /// What `COINBASE` returns.
    pub beneficiary: Address,
    /// Gas the block may use.
    pub gas_limit: u64,
}

/// Why a transaction cannot stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    /// The sender has already used this nonce.
    #[error("nonce {transaction} was already used, the account's next is {state}")]
    NonceTooLow {
        /// The transaction's.
        transaction: u64,
        /// The account's next.
        state: u64,
    },
    /// Nonces before this one are missing.
    #[error("nonce {transaction} leaves a gap, the account's next is {state}")]
    NonceTooHigh {
        /// The transaction's.
        transaction: u64,
        /// The account's next.
        state: u64,
    },
    /// The gas limit is more than the block has left.
    #[error("the gas limit {gas_limit} exceeds the {left} left in the block")]
    BlockGas {
        /// The transaction's.
        gas_limit: u64,
        /// Left in the block.
        left: u64,
    },
    /// The gas limit is more than the sender's member may still use of this block.
    #[error("the gas limit {gas_limit} exceeds the {left} that its sender's member has left in this block")]
    MemberQuota {
        /// The transaction's.
        gas_limit: u64,
        /// Left for this member.
        left: u64,
    },
    /// The quota of the sender's member is used up; time refills it.
    #[error("the sender's member has used up its quota of what all nodes store; it fills again with time")]
    StorageQuota,
    /// Blob transactions have no place on this chain.
    #[error("blob transactions are not accepted")]
    Blob,
    /// An account that carries code would no longer be ruled by its registered key alone.
    #[error("code delegations (EIP-7702) are not accepted")]
    Delegation,
    /// Could be replayed from or to another chain.
    #[error("the transaction names no chain id")]
    Unprotected,
    /// The value is more than the sender has. Wallets and libraries recognise geth's phrase.
    #[error("insufficient funds for gas * price + value: balance {balance}, value {value}")]
    InsufficientBalance {
        /// Wei to be sent.
        value: U256,
        /// Wei there are.
        balance: U256,
    },
    /// Offers less gas than a transaction takes before anything is executed, in geth's phrase.
    #[error("intrinsic gas too low: have {gas_limit}, want {needed}")]
    IntrinsicGas {
        /// The transaction's.
        gas_limit: u64,
        /// The least it takes.
        needed: u64,
    },
    /// Breaks another rule of Ethereum's.
    #[error("{0}")]
    Rule(String),
}

/// Why a transaction was not executed. The block's state is as before it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecutionError {
    /// It cannot stand at this place of this block.
    #[error("the transaction is invalid here")]
    Invalid(#[source] InvalidReason),
    /// The state could not be read.
    #[error("execution needs the state")]
    State(#[from] StateError),
    /// A call of the system account did not succeed.
    #[error("the system call to {to} failed: {reason}")]
    SystemCall {
        /// The contract called.
        to: Address,
        /// The revert's data, or how execution halted.
        reason: String,
    },
    /// The machine itself failed.
    #[error("the virtual machine failed: {0}")]
    Machine(String),
}

/// One executed transaction.
#[derive(Clone, Debug)]
pub struct ExecutedTransaction {
    /// Status, cumulative gas, logs and bloom, in the envelope of the transaction's type.
    pub receipt: ReceiptEnvelope,
    /// Gas it used itself.
    pub gas_used: u64,
    /// The contract it created, if it was to create one.
    pub contract_address: Option<Address>,
}

/// Something that all nodes store for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Bytes of transactions, logs and code.
    pub bytes: u64,
    /// Storage slots that become other than zero, and new accounts.
    pub slots: u64,
}

impl Growth {
    /// Nothing.
    pub const ZERO: Self = Self { bytes: 0, slots: 0 };
    /// As much as there is.
    pub const UNLIMITED: Self = Self { bytes: u64::MAX, slots: u64::MAX };

    pub(crate) const fn add(&mut self, more: Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.slots = self.slots.saturating_add(more.slots);
    }
}

/// The one to whose account a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The member that the sender acts for; nobody's transactions share one account.
    pub member: Option<DcId>,
    /// The rest of its quota in this block. The transaction that reaches the limit may pass it.
    pub left: Growth,
}

/// One member's use of a block.
#[derive(Clone, Copy)]
struct Used {
    gas: u64,
    growth: Growth,
}

/// Executes for one chain. Cloning shares the caches of analysed code and of signatures.
#[derive(Clone)]
pub struct Executor {
    chain_id: u64,
    codes: CodeCache,
    signatures: Signatures,
}

impl Executor {
    /// For the chain with this id, and signatures that others may recover ahead of execution.
    pub fn new(chain_id: u64, signatures: Signatures) -> Self {
        Self { chain_id, codes: CodeCache::new(), signatures }
    }

    /// Starts a block on the state of its parent: stores the parent's hash in the history contract (EIP-2935).
    ///
    /// # Errors
    /// When the state cannot be read, or the history contract fails.
    pub fn begin<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
    ) -> Result<BlockExecutor<V>, ExecutionError> {
        let mut block = BlockExecutor {
            machine: self.machine(view, environment, |_| {}),
            gas_limit: environment.gas_limit,
            gas_used: 0,
            used: BTreeMap::new(),
            bloom: Bloom::ZERO,
            digests: Vec::new(),
        };
        if environment.number > 0 {
            block.system_call(HISTORY_STORAGE_ADDRESS, environment.parent_hash.into())?;
        }
        Ok(block)
    }

    pub(crate) fn machine<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
        adjust: impl FnOnce(&mut CfgEnv),
    ) -> Machine<V> {
        let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(self.chain_id);
        cfg.disable_fee_charge = true;
        adjust(&mut cfg);
        MainnetContext::new(BlockState::new(view, self.codes.clone()), SpecId::OSAKA)
            .with_cfg(cfg)
            .with_block(block_env(environment))
            .build_mainnet()
            .with_precompiles(Precompiles::new(SpecId::OSAKA, self.signatures.clone()))
    }
}

pub(crate) fn block_env(environment: BlockEnvironment) -> BlockEnv {
    BlockEnv {
        number: U256::from(environment.number),
        beneficiary: environment.beneficiary,
        timestamp: U256::from(environment.timestamp),
        gas_limit: environment.gas_limit,
        basefee: 0,
        difficulty: U256::ZERO,
        prevrandao: Some(environment.prevrandao),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE)),
        slot_num: 0,
    }
}

/// A block in execution.
pub struct BlockExecutor<V: StateView> {
    machine: Machine<V>,
    gas_limit: u64,
    gas_used: u64,
    used: BTreeMap<Option<DcId>, Used>,
    bloom: Bloom,
    /// Used again for each transaction's.
    digests: Vec<B256>,
}

/// The Bloom filter over some logs (yellow paper, 4.3.1): their addresses and topics are hashed together.
pub(crate) fn bloom_of(logs: &[Log], digests: &mut Vec<B256>) -> Bloom {
    let values = logs.iter().flat_map(|log| {
        let topics = log.topics().iter().map(|topic| topic.as_slice());
        std::iter::once(log.address.as_slice()).chain(topics)
    });
    digest_all(values, digests);
    let mut bloom = Bloom::ZERO;
    digests.iter().for_each(|digest| bloom.accrue(BloomInput::Hash(*digest)));
    bloom
}

impl<V: StateView> BlockExecutor<V> {
    /// Executes the next transaction. `sender` must be the signer.
    ///
    /// # Errors
    /// [`ExecutionError::Invalid`] when it cannot stand here; the block goes on without it.
    pub fn transact(
        &mut self,
        transaction: &SignedTransaction,
        sender: Address,
        payer: Payer,
    ) -> Result<ExecutedTransaction, ExecutionError> {
        self.check(transaction, payer).map_err(ExecutionError::Invalid)?;
        let balance = self.account(sender)?.balance;
        if transaction.value() > balance {
            let value = transaction.value();
            return Err(ExecutionError::Invalid(InvalidReason::InsufficientBalance { value, balance }));
        }
        let (result, mut growth) = self.run(transaction_env(transaction, sender))?;
        let gas_used = result.tx_gas_used();
        self.gas_used = self.gas_used.saturating_add(gas_used);
        let contract_address = transaction.is_create().then(|| sender.create(transaction.nonce()));
        let receipt = Receipt {
            status: result.is_success().into(),
            cumulative_gas_used: self.gas_used,
            logs: result.into_logs(),
        };
        let bytes = receipt
            .logs
            .iter()
            .map(log_bytes)
            .fold(transaction.encode_2718_len() as u64, u64::saturating_add);
        growth.add(Growth { bytes, slots: 0 });
        let used = self.used.entry(payer.member).or_insert(Used { gas: 0, growth: Growth::ZERO });
        used.gas = used.gas.saturating_add(gas_used);
        used.growth.add(growth);
        let logs_bloom = bloom_of(&receipt.logs, &mut self.digests);
        let receipt = ReceiptWithBloom { receipt, logs_bloom };
        self.bloom |= receipt.logs_bloom;
        let receipt = match transaction.tx_type() {
            TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
            TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
            TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
            TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
            TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
        };
        Ok(ExecutedTransaction { receipt, gas_used, contract_address })
    }

    fn check(&self, transaction: &SignedTransaction, payer: Payer) -> Result<(), InvalidReason> {
        match transaction.tx_type() {
            TxType::Eip4844 => return Err(InvalidReason::Blob),
            TxType::Eip7702 => return Err(InvalidReason::Delegation),
            TxType::Legacy if transaction.chain_id().is_none() && !is_deployer(transaction) => {
                return Err(InvalidReason::Unprotected);
            }
            _ => {}
        }
        let gas_limit = transaction.gas_limit();
        let left = self.gas_limit.saturating_sub(self.gas_used);
        if gas_limit > left {
            return Err(InvalidReason::BlockGas { gas_limit, left });
        }
        let left = self.quota_left(payer.member);
        if gas_limit > left {
            return Err(InvalidReason::MemberQuota { gas_limit, left });
        }
        let growth = self.used.get(&payer.member).map_or(Growth::ZERO, |used| used.growth);
        if growth.bytes >= payer.left.bytes || growth.slots >= payer.left.slots {
            return Err(InvalidReason::StorageQuota);
        }
        // Fees are blanked before execution, so revm cannot see this.
        if transaction.max_priority_fee_per_gas().is_some_and(|tip| tip > transaction.max_fee_per_gas()) {
            return Err(InvalidReason::Rule(InvalidTransaction::PriorityFeeGreaterThanMaxFee.to_string()));
        }
        Ok(())
    }

    /// Gas that this member may still use of the block.
    pub fn quota_left(&self, member: Option<DcId>) -> u64 {
        let used = self.used.get(&member).map_or(0, |used| used.gas);
        member_gas_quota(self.gas_limit).saturating_sub(used)
    }

    /// The growth of stored data by each member's transactions so far.
    pub fn growth(&self) -> impl Iterator<Item = (DcId, Growth)> {
        self.used.iter().filter_map(|(member, used)| Some(((*member)?, used.growth)))
    }

    /// Gas used by the transactions so far.
    pub const fn gas_used(&self) -> u64 {
        self.gas_used
    }

    /// Bloom filter over the logs so far.
    pub const fn logs_bloom(&self) -> &Bloom {
        &self.bloom
    }

    /// An account as the transactions so far left it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn account(&mut self, address: Address) -> Result<AccountState, StateError> {
        self.machine.ctx.journaled_state.database.account(address)
    }

    /// Puts code at an address, as only a genesis state and an upgrade may. Storage, balance and a nonce above 1 stay.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn place(&mut self, address: Address, code: Bytes) -> Result<(), StateError> {
        self.machine.ctx.journaled_state.database.place(address, code)
    }

    /// Sets a storage slot of an account that exists, as the system may.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) -> Result<(), StateError> {
        self.machine.ctx.journaled_state.database.set_storage(address, slot, value)
    }

    /// Calls a contract as [`SYSTEM_ADDRESS`], outside the block's gas and without a receipt.
    ///
    /// # Errors
    /// When the state cannot be read, or the call does not succeed.
    pub fn system_call(&mut self, to: Address, data: Bytes) -> Result<Bytes, ExecutionError> {
        let environment = TxEnv {
            caller: SYSTEM_ADDRESS,
            gas_limit: SYSTEM_CALL_GAS,
            kind: TxKind::Call(to),
            data,
            chain_id: None,
            ..TxEnv::default()
        };
        self.machine.ctx.tx = environment;
        let result = MainnetHandler::default().run_system_call(&mut self.machine);
        let state = self.machine.finalize();
        let outcome = CallOutcome::from(result.map_err(execution_error)?);
        self.machine.ctx.journaled_state.database.commit(state)?;
        match outcome {
            CallOutcome::Success { output, .. } => Ok(output),
            CallOutcome::Revert { output, .. } => {
                Err(ExecutionError::SystemCall { to, reason: format!("reverted with {output}") })
            }
            CallOutcome::Halt { reason, .. } => Err(ExecutionError::SystemCall { to, reason }),
        }
    }

    fn run(&mut self, environment: TxEnv) -> Result<(ExecutionResult, Growth), ExecutionError> {
        let result = self.machine.transact_one(environment);
        let state = self.machine.finalize();
        let result = result.map_err(execution_error)?;
        let growth = self.machine.ctx.journaled_state.database.commit(state)?;
        Ok((result, growth))
    }

    /// Everything the block changed.
    pub fn finish(self) -> StateChanges {
        self.machine.ctx.journaled_state.database.into_changes()
    }
}

/// Bytes of a log in its receipt: address, topics, data.
fn log_bytes(log: &Log) -> u64 {
    let topics = log.topics().len().saturating_mul(32);
    20_u64.saturating_add(topics as u64).saturating_add(log.data.data.len() as u64)
}

/// The transaction as the machine sees it: prices are 0, because nobody pays.
fn transaction_env(transaction: &SignedTransaction, sender: Address) -> TxEnv {
    TxEnv {
        tx_type: transaction.tx_type() as u8,
        caller: sender,
        gas_limit: transaction.gas_limit(),
        gas_price: 0,
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas().map(|_| 0),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}

pub(crate) fn execution_error(error: EVMError<StateError>) -> ExecutionError {
    match error {
        EVMError::Transaction(InvalidTransaction::NonceTooLow { tx, state }) => {
            ExecutionError::Invalid(InvalidReason::NonceTooLow { transaction: tx, state })
        }
        EVMError::Transaction(InvalidTransaction::NonceTooHigh { tx, state }) => {
            ExecutionError::Invalid(InvalidReason::NonceTooHigh { transaction: tx, state })
        }
        EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            ExecutionError::Invalid(InvalidReason::InsufficientBalance { value: *fee, balance: *balance })
        }
        EVMError::Transaction(
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas: needed, gas_limit }
            | InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: needed, gas_limit },
        ) => ExecutionError::Invalid(InvalidReason::IntrinsicGas { gas_limit, needed }),
        EVMError::Transaction(reason) => ExecutionError::Invalid(InvalidReason::Rule(reason.to_string())),
        EVMError::Database(error) => ExecutionError::State(error),
        other => ExecutionError::Machine(other.to_string()),
    }
}
