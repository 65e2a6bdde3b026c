//! Reads a pickle as a description of tensors. Never calls anything.
//!
//! Pickle is a stack machine; CPython's `Lib/pickletools.py` documents its sixty-odd opcodes. This module supports
//! those that `torch.save` emits for a state dict, in protocols 2 to 5. The dangerous ones are `GLOBAL`, which names
//! any function of any module, and `REDUCE`, which calls it: reading stops at any global outside [`Callable`] and
//! reports its name, before it looks at anything behind it.
//!
//! Values live in one arena and refer to each other by index. A tree of boxes would be recursive to drop, and copies
//! through the memo could double it at every step; an arena grows by at most one value per opcode.

use std::collections::HashMap;

use super::{Dtype, Fault, malformed};

/// Maximum number of opcodes plus copied elements of one pickle. A BERT has some 200 tensors of about 35 opcodes.
const MAX_WORK: usize = 1 << 20;

/// Same as in PyTorch, where most operators support at most 64 dimensions.
const MAX_DIMENSIONS: usize = 64;

/// Index of a value in [`Pickle::values`].
pub(super) type Id = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Dtype),
}

impl Callable {
    fn named(module: &str, name: &str) -> Result<Callable, Fault> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Callable::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Callable::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Callable::RebuildParameter),
            ("torch", "Size") => Ok(Callable::Size),
            ("torch", class) if let Some(dtype) = Dtype::from_storage_class(class) => Ok(Callable::Storage(dtype)),
            ("torch", class) if class.ends_with("Storage") => {
                Err(Fault::Unsupported(format!("tensors of type torch.{class} are not supported")))
            }
            _ => Err(Fault::RefusedGlobal { global: format!("{module}.{name}") }),
        }
    }
}

/// A block of elements that tensors are views of. `torch.save` names it by a key and stores it separately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    /// Elements of the whole block.
    pub numel: usize,
    /// First element and number of elements, if the storage is itself a part of a block (torch before 1.0).
    pub view: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub storage: Storage<'a>,
    /// Number of elements before the first.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In elements.
    pub strides: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Wider than 64 bits, little-endian two's complement.
    Long(&'a [u8]),
    Float,
    Str(&'a str),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Callable(Callable),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
}

impl Value<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) | Value::Long(_) => "an int",
            Value::Float => "a float",
            Value::Str(_) => "a str",
            Value::Bytes => "bytes",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Callable(_) => "a class",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub values: Vec<Value<'a>>,
    pub root: Id,
    /// Length in bytes, including the `STOP`.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    /// The items of a dict with `str` keys. As in Python, a repeated key keeps its first position and its last value.
    pub(super) fn items(&self, dict: &[(Id, Id)]) -> Result<Vec<(&'a str, &Value<'a>)>, Fault> {
        let mut items: Vec<(&str, &Value)> = Vec::with_capacity(dict.len());
        let mut places = HashMap::new();
        for (key, value) in dict {
            let Value::Str(key) = self.values[*key] else {
                return Err(malformed(format!("{} is the key of a dict, expected a str", self.values[*key].kind())));
            };
            let value = &self.values[*value];
            match places.insert(key, items.len()) {
                None => items.push((key, value)),
                Some(place) => {
                    items[place].1 = value;
                    places.insert(key, place);
                }
            }
        }
        Ok(items)
    }

    pub(super) fn strings(&self, list: &[Id]) -> Result<Vec<&'a str>, Fault> {
        list.iter()
            .map(|id| match self.values[*id] {
                Value::Str(text) => Ok(text),
                ref other => Err(malformed(format!("{} found, expected a str", other.kind()))),
            })
            .collect()
    }
}

/// Reads one pickle from the front of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        work: 0,
    };
    let root = machine.run()?;
    Ok(Pickle { values: machine.values, root, len: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Height of the stack at each open `MARK`.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    work: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Fault> {
        loop {
            self.spend(1)?;
            let [opcode] = self.array()?;
            match opcode {
                // PROTO
                0x80 => {
                    let [version] = self.array()?;
                    if !(2..=5).contains(&version) {
                        return Err(Fault::Unsupported(format!("pickle protocol {version}; torch.save writes 2")));
                    }
                }
                // FRAME: a hint for readers of a stream.
                0x95 => self.take(8).map(drop)?,
                // STOP
                b'.' => return self.pop(),

                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Bool(true)),
                0x89 => self.push(Value::Bool(false)),
                // BININT, BININT1, BININT2, LONG1, BINFLOAT
                b'J' => {
                    let int = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(int.into()));
                }
                b'K' => {
                    let [int] = self.array()?;
                    self.push(Value::Int(int.into()));
                }
                b'M' => {
                    let int = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(int.into()));
                }
                0x8a => {
                    let [len] = self.array()?;
                    let long = long(self.take(len.into())?);
                    self.push(long);
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float);
                }

                // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'X' => {
                    let len = u32::from_le_bytes(self.array()?);
                    self.push_str(len.into())?;
                }
                0x8c => {
                    let [len] = self.array()?;
                    self.push_str(len.into())?;
                }
                0x8d => {
                    let len = u64::from_le_bytes(self.array()?);
                    self.push_str(len)?;
                }
                // BINSTRING, SHORT_BINSTRING: the `str` of Python 2, which is ASCII in all relevant names.
                b'T' => {
                    let len = u32::from_le_bytes(self.array()?);
                    self.push_str(len.into())?;
                }
                b'U' => {
                    let [len] = self.array()?;
                    self.push_str(len.into())?;
                }
                // BINBYTES, SHORT_BINBYTES
                b'B' => {
                    let len = u32::from_le_bytes(self.array()?);
                    self.take(len.into())?;
                    self.push(Value::Bytes);
                }
                b'C' => {
                    let [len] = self.array()?;
                    self.take(len.into())?;
                    self.push(Value::Bytes);
                }

                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => self.pop().map(drop)?,
                b'1' => self.pop_to_mark().map(drop)?,
                b'2' => self.stack.push(self.top()?),

                // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
                b')' => self.push(Value::Tuple(Vec::new())),
                0x85..=0x87 => {
                    let mut items = Vec::new();
                    for _ in 0..opcode - 0x84 {
                        items.push(self.pop()?);
                    }
                    items.reverse();
                    self.push(Value::Tuple(items));
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                // EMPTY_LIST, APPEND, APPENDS
                b']' => self.push(Value::List(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                // EMPTY_DICT, SETITEM, SETITEMS
                b'}' => self.push(Value::Dict(Vec::new())),
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }

                // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
                b'q' => {
                    let [slot] = self.array()?;
                    self.memo.insert(slot.into(), self.top()?);
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.memo.insert(slot, self.top()?);
                }
                0x94 => {
                    // `MAX_WORK` keeps the memo far below 2³² slots.
                    self.memo.insert(self.memo.len() as u32, self.top()?);
                }
                b'h' => {
                    let [slot] = self.array()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }

                // GLOBAL, STACK_GLOBAL; INST combines GLOBAL and REDUCE, and torch.save never writes it.
                b'c' | b'i' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    let callable = Callable::named(module, name)?;
                    if opcode == b'i' {
                        return Err(Fault::RefusedGlobal { global: format!("{module}.{name}") });
                    }
                    self.push(Value::Callable(callable));
                }
                0x93 => {
                    let name = self.pop_str("a global's name")?;
                    let module = self.pop_str("a global's module")?;
                    let callable = Callable::named(module, name)?;
                    self.push(Value::Callable(callable));
                }
                // REDUCE, BUILD, BINPERSID
                b'R' => {
                    let arguments = self.pop()?;
                    let callable = self.pop()?;
                    self.reduce(callable, arguments)?;
                }
                b'b' => {
                    // The attributes of an OrderedDict: `_metadata`, versions of modules, which weights do not need.
                    self.pop()?;
                    let object = self.top()?;
                    if !matches!(self.values[object], Value::Dict(_)) {
                        return Err(self.wrong("a dict to set attributes of", object));
                    }
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Value::Storage(storage));
                }

                _ => {
                    return Err(malformed(format!(
                        "opcode {opcode:#04x} at byte {} of the pickle is not one that torch.save writes for a state dict",
                        self.at - 1
                    )));
                }
            }
        }
    }

    fn spend(&mut self, work: usize) -> Result<(), Fault> {
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK {
            return Err(malformed("refused: its pickle is far larger than that of any state dict"));
        }
        Ok(())
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken =
            taken.ok_or_else(|| malformed("truncated: it ends in the middle of a pickle; download it again"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn text(bytes: &'a [u8]) -> Result<&'a str, Fault> {
        str::from_utf8(bytes).map_err(|_| malformed("a str in the pickle is not UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = self.take(len as u64)?;
        self.take(1)?;
        Self::text(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn push_str(&mut self, len: u64) -> Result<(), Fault> {
        let text = Self::text(self.take(len)?)?;
        self.push(Value::Str(text));
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Fault> {
        // Nothing reads below an open mark, so a mark is never higher than the stack.
        self.stack[self.floor()..].last().copied().ok_or_else(|| malformed("the pickle takes from an empty stack"))
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| malformed("the pickle closes a mark that it never set"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_str(&mut self, what: &str) -> Result<&'a str, Fault> {
        let id = self.pop()?;
        self.str(id, what)
    }

    fn recall(&mut self, slot: u32) -> Result<(), Fault> {
        let id =
            self.memo.get(&slot).ok_or_else(|| malformed(format!("the pickle recalls slot {slot}, which is empty")))?;
        self.stack.push(*id);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let target = self.top()?;
        match &mut self.values[target] {
            Value::List(list) => list.extend_from_slice(items),
            _ => return Err(self.wrong("a list to append to", target)),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Fault> {
        let target = self.top()?;
        let (pairs, rest) = items.as_chunks();
        if !rest.is_empty() {
            return Err(malformed("a dict's key without a value"));
        }
        match &mut self.values[target] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(self.wrong("a dict to put into", target)),
        }
        Ok(())
    }

    fn wrong(&self, expected: &str, id: Id) -> Fault {
        malformed(format!("the pickle has {}, expected {expected}", self.values[id].kind()))
    }

    fn str(&self, id: Id, what: &str) -> Result<&'a str, Fault> {
        match self.values[id] {
            Value::Str(text) => Ok(text),
            _ => Err(self.wrong(what, id)),
        }
    }

    fn count(&self, id: Id, what: &str) -> Result<usize, Fault> {
        match self.values[id] {
            Value::Int(int) => usize::try_from(int).map_err(|_| malformed(format!("the pickle has {what} of {int}"))),
            _ => Err(self.wrong(what, id)),
        }
    }

    fn tuple(&self, id: Id, what: &str) -> Result<&[Id], Fault> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            _ => Err(self.wrong(what, id)),
        }
    }

    fn counts(&self, id: Id, what: &str) -> Result<Vec<usize>, Fault> {
        let ids = self.tuple(id, what)?;
        if ids.len() > MAX_DIMENSIONS {
            return Err(Fault::Unsupported(format!("a tensor of {} dimensions", ids.len())));
        }
        ids.iter().map(|id| self.count(*id, what)).collect()
    }

    fn reduce(&mut self, callable: Id, arguments: Id) -> Result<(), Fault> {
        let Value::Callable(callable) = self.values[callable] else {
            return Err(self.wrong("a class or function to call", callable));
        };
        let arguments = self.tuple(arguments, "a tuple of arguments")?;
        match (callable, arguments) {
            (Callable::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            // Python 2 passes the items as the argument, a list of pairs.
            (Callable::OrderedDict, [items]) => {
                let pairs = match &self.values[*items] {
                    Value::List(list) => self.pairs(list)?,
                    _ => return Err(self.wrong("a list of pairs", *items)),
                };
                // Many calls may share one list as the argument, and each copies it.
                self.spend(pairs.len())?;
                self.push(Value::Dict(pairs));
            }
            // Hooks and `requires_grad` are not part of a weight. A seventh argument would be: it says that the
            // elements are to be negated or conjugated. `torch.save` omits it if they are not.
            (Callable::RebuildTensor, [storage, offset, shape, strides, _requires_grad, _hooks]) => {
                let Value::Storage(storage) = self.values[*storage] else {
                    return Err(self.wrong("a storage", *storage));
                };
                let offset = self.count(*offset, "a storage offset")?;
                let shape = self.counts(*shape, "a tensor's shape")?;
                let strides = self.counts(*strides, "a tensor's strides")?;
                if shape.len() != strides.len() {
                    return Err(malformed(format!(
                        "a tensor with {} extents but {} strides",
                        shape.len(),
                        strides.len()
                    )));
                }
                self.spend(shape.len())?;
                self.push(Value::Tensor(Tensor { storage, offset, shape, strides }));
            }
            (Callable::RebuildParameter, [tensor, _requires_grad, _hooks]) => self.stack.push(*tensor),
            (Callable::Size, [extents]) => self.stack.push(*extents),
            (callable, arguments) => {
                return Err(malformed(format!("the pickle calls {callable:?} with {} arguments", arguments.len())));
            }
        }
        Ok(())
    }

    fn pairs(&self, list: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
        list.iter()
            .map(|pair| match &self.values[*pair] {
                Value::List(items) | Value::Tuple(items) if let [key, value] = items[..] => Ok((key, value)),
                _ => Err(self.wrong("a pair of key and value", *pair)),
            })
            .collect()
    }

    /// `('storage', class, key, location, numel)`, with a sixth field in the legacy layout.
    fn storage(&self, id: Id) -> Result<Storage<'a>, Fault> {
        let fields = self.tuple(id, "a storage's description")?;
        let [tag, class, key, _location, numel, view @ ..] = fields else {
            return Err(malformed("a storage's description is too short"));
        };
        if self.str(*tag, "the tag of a storage")? != "storage" {
            return Err(malformed("a persistent id that is not a storage"));
        }
        let Value::Callable(Callable::Storage(dtype)) = self.values[*class] else {
            return Err(self.wrong("a storage's class", *class));
        };
        let view = match view {
            [] => None,
            [view] if matches!(self.values[*view], Value::None) => None,
            [view] => match self.tuple(*view, "the view of a storage")? {
                [_key, offset, len] => {
                    Some((self.count(*offset, "a view's offset")?, self.count(*len, "a view's length")?))
                }
                _ => return Err(malformed("the view of a storage is not a triple")),
            },
            _ => return Err(malformed("a storage's description is too long")),
        };
        let numel = self.count(*numel, "a storage's length")?;
        Ok(Storage { key: self.str(*key, "a storage's key")?, dtype, numel, view })
    }
}

fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = if bytes.last().is_some_and(|top| top & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
