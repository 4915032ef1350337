//! Reading and writing records inside a snapshot or a write transaction.
//!
//! [`Read`] is what both can do; [`Tx`] writes, gives out numbers and notes events. Only [`super::Store`] makes them.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, Key};
use super::error::StoreError;
use super::tables::{COUNTERS, Table};
use crate::model::event::Event;

/// Every table has this type; keys and values are made by [`codec`].
pub(super) type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A part of a table, in an order.
#[derive(Debug, Clone)]
pub struct Span {
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    backwards: bool,
    limit: usize,
}

impl Span {
    /// The whole table, lowest key first.
    pub fn all() -> Self {
        Self { lower: Bound::Unbounded, upper: Bound::Unbounded, backwards: false, limit: usize::MAX }
    }

    /// Keys that begin with `prefix`.
    pub fn under(prefix: &impl Key) -> Self {
        let lower = prefix.bytes();
        let mut upper = lower.clone();
        while upper.pop_if(|byte| *byte == u8::MAX).is_some() {}
        let upper = match upper.last_mut() {
            Some(byte) => {
                *byte += 1;
                Bound::Excluded(upper)
            }
            None => Bound::Unbounded,
        };
        Self { lower: Bound::Included(lower), upper, ..Self::all() }
    }

    /// Highest key first.
    pub fn backwards(self) -> Self {
        Self { backwards: true, ..self }
    }

    /// Only what comes after the key with these bytes, in this span's order. A key outside the span widens nothing.
    pub fn past(mut self, key: Vec<u8>) -> Self {
        let bound = if self.backwards { &mut self.upper } else { &mut self.lower };
        let narrower = match bound {
            Bound::Unbounded => true,
            Bound::Included(old) | Bound::Excluded(old) => {
                if self.backwards {
                    key < *old
                } else {
                    key >= *old
                }
            }
        };
        if narrower {
            *bound = Bound::Excluded(key);
        }
        self
    }

    /// At most so many.
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    fn bounds(&self) -> Option<Bounds<'_>> {
        let lower = self.lower.as_ref().map(Vec::as_slice);
        let upper = self.upper.as_ref().map(Vec::as_slice);
        // redb panics on a range that ends before it begins.
        let empty = match (lower, upper) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b))
            | (Bound::Excluded(a), Bound::Included(b)) => a >= b,
        };
        (!empty).then_some((lower, upper))
    }
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Looks at one raw record; says whether to go on.
type Look<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// What a snapshot and a write transaction can both do.
pub trait Read {
    /// The bytes of one record.
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Looks at the raw records of a span, in its order.
    fn raw_visit(&self, table: &'static str, span: &Span, look: Look<'_>) -> Result<(), StoreError>;

    /// One record.
    fn get<K: Key, V: DeserializeOwned>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        let key = key.bytes();
        self.raw_get(table.name, &key)?.map(|bytes| value(table, &key, &bytes)).transpose()
    }

    /// Whether the record exists.
    fn has<K: Key, V>(&self, table: &Table<K, V>, key: &K) -> Result<bool, StoreError> {
        Ok(self.raw_get(table.name, &key.bytes())?.is_some())
    }

    /// Looks at the records of a span, in its order, until told to stop or its limit is reached. Inside a write
    /// transaction `look` must not touch the same table.
    fn visit<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        span: &Span,
        mut look: impl FnMut(K, V) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        self.raw_visit(table.name, span, &mut |key, bytes| look(key_of(table, key)?, value(table, key, bytes)?))
    }

    /// The records of a span.
    fn list<K: Key, V: DeserializeOwned>(&self, table: &Table<K, V>, span: &Span) -> Result<Vec<(K, V)>, StoreError> {
        let mut found = Vec::new();
        self.visit(table, span, |key, value| {
            found.push((key, value));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The keys of a span.
    fn keys<K: Key, V>(&self, table: &Table<K, V>, span: &Span) -> Result<Vec<K>, StoreError> {
        let mut found = Vec::new();
        self.raw_visit(table.name, span, &mut |key, _| {
            found.push(key_of(table, key)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// How many records a span holds.
    fn count<K, V>(&self, table: &Table<K, V>, span: &Span) -> Result<usize, StoreError> {
        let mut count = 0;
        self.raw_visit(table.name, span, &mut |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }
}

fn place<K, V>(table: &Table<K, V>, key: &[u8]) -> String {
    let key: String = key.iter().take(40).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    format!("table {}, key {key}", table.name)
}

fn key_of<K: Key, V>(table: &Table<K, V>, key: &[u8]) -> Result<K, StoreError> {
    K::read(key).ok_or_else(|| StoreError::Damaged { place: place(table, key), why: "the key cannot be read".into() })
}

fn value<K, V: DeserializeOwned>(table: &Table<K, V>, key: &[u8], bytes: &[u8]) -> Result<V, StoreError> {
    codec::decode(table.version, bytes).map_err(|why| StoreError::Damaged { place: place(table, key), why })
}

fn visit_table(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    span: &Span,
    look: Look<'_>,
) -> Result<(), StoreError> {
    let Some(bounds) = span.bounds() else { return Ok(()) };
    let mut range = table.range::<&[u8]>(bounds)?;
    for _ in 0..span.limit {
        let next = if span.backwards { range.next_back() } else { range.next() };
        let Some(record) = next else { break };
        let (key, value) = record?;
        if look(key.value(), value.value())?.is_break() {
            break;
        }
    }
    Ok(())
}

/// A view of the store that nothing changes. It never shows what is not yet on the disk.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<View>,
}

struct View {
    txn: ReadTransaction,
    /// Tables that were opened: finding one costs as much as several records of it.
    tables: RwLock<BTreeMap<&'static str, Arc<OpenTable>>>,
}

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Snapshot {
    /// What a transaction sees.
    pub(super) fn new(txn: ReadTransaction) -> Self {
        Self { inner: Arc::new(View { txn, tables: RwLock::default() }) }
    }

    fn table(&self, name: &'static str) -> Result<Arc<OpenTable>, StoreError> {
        // A panic leaves the map as good as it was.
        if let Some(table) = self.inner.tables.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(table.clone());
        }
        let table = Arc::new(self.inner.txn.open_table(Raw::new(name))?);
        self.inner.tables.write().unwrap_or_else(PoisonError::into_inner).insert(name, table.clone());
        Ok(table)
    }
}

impl Read for Snapshot {
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table(table)?.get(key)?.map(|found| found.value().to_vec()))
    }

    fn raw_visit(&self, table: &'static str, span: &Span, look: Look<'_>) -> Result<(), StoreError> {
        visit_table(&*self.table(table)?, span, look)
    }
}

/// A write transaction. It is committed when the closure that got it answers `Ok`.
pub struct Tx {
    pub(super) txn: WriteTransaction,
    pub(super) events: Vec<Event>,
    pub(super) wrote: bool,
}

impl Read for Tx {
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.txn.open_table(Raw::new(table))?;
        Ok(table.get(key)?.map(|found| found.value().to_vec()))
    }

    fn raw_visit(&self, table: &'static str, span: &Span, look: Look<'_>) -> Result<(), StoreError> {
        visit_table(&self.txn.open_table(Raw::new(table))?, span, look)
    }
}

impl Tx {
    /// Writes a record.
    pub fn put<K: Key, V: Serialize>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> Result<(), StoreError> {
        let key = key.bytes();
        let bytes = codec::encode(table.version, value)
            .map_err(|why| StoreError::Io { what: format!("could not write {}", place(table, &key)), why })?;
        self.wrote = true;
        self.txn.open_table(Raw::new(table.name))?.insert(key.as_slice(), bytes.as_slice())?;
        Ok(())
    }

    /// Writes many records of one table, opening it once.
    pub fn put_all<K: Key, V: Serialize>(
        &mut self,
        table: &Table<K, V>,
        records: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), StoreError> {
        self.wrote = true;
        let mut open = self.txn.open_table(Raw::new(table.name))?;
        for (key, value) in records {
            let key = key.bytes();
            let bytes = codec::encode(table.version, &value)
                .map_err(|why| StoreError::Io { what: format!("could not write {}", place(table, &key)), why })?;
            open.insert(key.as_slice(), bytes.as_slice())?;
        }
        Ok(())
    }

    /// Removes a record; one that does not exist is removed already.
    pub fn remove<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), StoreError> {
        self.wrote = true;
        self.txn.open_table(Raw::new(table.name))?.remove(key.bytes().as_slice())?;
        Ok(())
    }

    /// The next number of a kind, from 1. A number is given out once, whatever becomes of its object; only a
    /// transaction that is rolled back returns it.
    pub fn next_number(&mut self, kind: &str) -> Result<u64, StoreError> {
        let key = kind.to_owned();
        let next = self.get(&COUNTERS, &key)?.unwrap_or(0) + 1;
        self.put(&COUNTERS, &key, &next)?;
        Ok(next)
    }

    /// No number of this kind up to `taken` is given out any more. Writes only where that is news.
    pub fn never_again(&mut self, kind: &str, taken: u64) -> Result<(), StoreError> {
        let key = kind.to_owned();
        if self.get(&COUNTERS, &key)?.unwrap_or(0) < taken {
            self.put(&COUNTERS, &key, &taken)?;
        }
        Ok(())
    }

    /// Notes an event that leaves when the transaction is on the disk.
    pub fn note(&mut self, event: Event) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }
}
