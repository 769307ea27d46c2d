//! Columns being filled: one for each place of the records, of the type that holds all of its values.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, ListArray, StructArray,
    builder::{ArrayBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields};

use crate::{
    error::{Error, ErrorKind, Result},
    export::{
        columns::{Kinds, REST, Shape},
        members::Members,
        text::{self, Rest, elements, members},
    },
};

/// Name of the note at a field that says what its text is.
const CONTENT: &str = "listbackup.content";

/// What the values of a column are.
#[derive(Clone, Copy)]
enum Content {
    /// What their type says.
    Plain,
    /// Numbers as they were written, since neither type of numbers holds all of them.
    Number,
    /// Values of several kinds as JSON.
    Json,
}

/// A column being filled.
enum Column {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder, Content),
    List(ListColumn),
    Struct(StructColumn),
}

impl Column {
    fn of(shape: Shape) -> Self {
        let kinds = shape.kinds;
        let integers = Kinds::SMALL.and(Kinds::INTEGER);
        let floats = Kinds::SMALL.and(Kinds::FLOAT);
        let numbers = integers.and(floats).and(Kinds::NUMBER);
        let text = |content| Self::Text(StringBuilder::new(), content);
        if kinds.are_within(Kinds::STRING) {
            text(Content::Plain)
        } else if kinds.are_within(Kinds::BOOL) {
            Self::Boolean(BooleanBuilder::new())
        } else if kinds.are_within(integers) {
            Self::Integer(Int64Builder::new())
        } else if kinds.are_within(floats) {
            Self::Float(Float64Builder::new())
        } else if kinds.are_within(numbers) {
            text(Content::Number)
        } else if kinds.are_within(Kinds::ARRAY) {
            Self::List(ListColumn::of(shape.element.map(|element| *element).unwrap_or_default()))
        } else if kinds.are_within(Kinds::OBJECT.and(Kinds::EMPTY_OBJECT)) && kinds.have(Kinds::OBJECT) {
            Self::Struct(StructColumn::of(shape))
        } else {
            text(Content::Json)
        }
    }

    fn field(&self, name: &str) -> FieldRef {
        match self {
            Self::Boolean(_) => field(name, DataType::Boolean, Content::Plain),
            Self::Integer(_) => field(name, DataType::Int64, Content::Plain),
            Self::Float(_) => field(name, DataType::Float64, Content::Plain),
            Self::Text(_, content) => field(name, DataType::Utf8, *content),
            Self::List(list) => field(name, DataType::List(list.field.clone()), Content::Plain),
            Self::Struct(members) => field(name, DataType::Struct(members.fields.clone()), Content::Plain),
        }
    }

    /// Appends a value; null is none.
    fn push(&mut self, value: Option<&str>, cells: &mut usize) -> Result<()> {
        let value = value.filter(|value| *value != "null");
        match self {
            Self::Boolean(builder) => builder.append_option(value.map(|value| value == "true")),
            Self::Integer(builder) => {
                builder.append_option(value.map(|value| fitting(value.parse().ok())).transpose()?)
            }
            Self::Float(builder) => builder.append_option(value.map(|value| fitting(value.parse().ok())).transpose()?),
            Self::Text(builder, Content::Plain) => {
                builder.append_option(value.map(|value| fitting(text::decode(value))).transpose()?);
            }
            Self::Text(builder, _) => builder.append_option(value),
            Self::List(list) => return list.push(value, cells),
            Self::Struct(members) => return members.push(value, cells),
        }
        *cells += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Boolean(builder) => ArrayBuilder::finish(builder),
            Self::Integer(builder) => ArrayBuilder::finish(builder),
            Self::Float(builder) => ArrayBuilder::finish(builder),
            Self::Text(builder, _) => ArrayBuilder::finish(builder),
            Self::List(list) => list.finish()?,
            Self::Struct(members) => members.finish()?,
        })
    }
}

/// Arrays of one kind of values.
struct ListColumn {
    field: FieldRef,
    element: Box<Column>,
    /// Elements of each array since the last batch.
    lengths: Vec<usize>,
    nulls: NullBufferBuilder,
}

impl ListColumn {
    fn of(element: Shape) -> Self {
        let element = Column::of(element);
        let field = element.field("element");
        Self { field, element: Box::new(element), lengths: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    fn push(&mut self, array: Option<&str>, cells: &mut usize) -> Result<()> {
        let mut len = 0;
        if let Some(array) = fitting_bracket(array, '[')? {
            for value in elements(array) {
                len += 1;
                self.element.push(Some(value), cells)?;
            }
        }
        self.lengths.push(len);
        self.nulls.append(array.is_some());
        *cells += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::try_from_lengths(self.lengths.drain(..)).map_err(|error| {
            Error::new(ErrorKind::Exhausted, "a record has too many values in arrays").caused_by(error)
        })?;
        let values = self.element.finish()?;
        let list = ListArray::try_new(self.field.clone(), offsets, values, self.nulls.finish()).map_err(misshapen)?;
        Ok(Arc::new(list))
    }
}

/// Objects, whose members are columns.
pub(super) struct StructColumn {
    members: Members<Column>,
    /// Members without a column, as JSON.
    rest: Option<StringBuilder>,
    fields: Fields,
    len: usize,
    nulls: NullBufferBuilder,
}

impl StructColumn {
    /// For objects of this shape.
    pub(super) fn of(shape: Shape) -> Self {
        let members = shape.members.map(|_, member| Column::of(member));
        let mut fields: Vec<FieldRef> = members.iter().map(|(name, column)| column.field(name)).collect();
        let rest = shape.has_rest.then(StringBuilder::new);
        if rest.is_some() {
            let mut name = REST.to_owned();
            while members.get(&name).is_some() {
                name.insert(0, '_');
            }
            fields.push(field(&name, DataType::Utf8, Content::Json));
        }
        Self { members, rest, fields: fields.into(), len: 0, nulls: NullBufferBuilder::new(0) }
    }

    /// The types of the members.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Appends an object and counts its cells.
    ///
    /// # Errors
    /// `Bug` when a value does not fit its column.
    pub(super) fn push(&mut self, object: Option<&str>, cells: &mut usize) -> Result<()> {
        let mut rest = Rest::default();
        self.members.begin();
        if let Some(object) = fitting_bracket(object, '{')? {
            for (name, value) in members(object) {
                match self.members.find(&text::name(name)) {
                    Ok(column) => column.push(Some(value), cells)?,
                    Err(_) => rest.push(name, value),
                }
            }
        }
        self.members.missing().try_for_each(|column| column.push(None, cells))?;
        match (&mut self.rest, rest.finish()) {
            (Some(builder), rest) => builder.append_option(rest),
            (None, None) => {}
            (None, Some(_)) => return Err(unfit()),
        }
        self.len += 1;
        self.nulls.append(object.is_some());
        *cells += 1;
        Ok(())
    }

    /// The members of all objects since the last batch.
    ///
    /// # Errors
    /// `Bug`.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>> {
        self.len = 0;
        self.nulls.finish();
        let mut columns = self.members.values_mut().map(Column::finish).collect::<Result<Vec<_>>>()?;
        columns.extend(self.rest.as_mut().map(ArrayBuilder::finish));
        Ok(columns)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let (len, nulls) = (self.len, self.nulls.finish());
        let columns = self.finish_columns()?;
        let objects = StructArray::try_new_with_length(self.fields.clone(), columns, nulls, len).map_err(misshapen)?;
        Ok(Arc::new(objects))
    }
}

/// A column that may be empty, with a note of its content where the type does not tell.
fn field(name: &str, data_type: DataType, content: Content) -> FieldRef {
    let note = match content {
        Content::Plain => None,
        Content::Number => Some("number"),
        Content::Json => Some("json"),
    };
    let notes: HashMap<_, _> = note.map(|note| (CONTENT.to_owned(), note.to_owned())).into_iter().collect();
    Arc::new(Field::new(name, data_type, true).with_metadata(notes))
}

/// The first pass saw every value; one that does not fit would be lost.
fn fitting<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(unfit)
}

fn fitting_bracket(value: Option<&str>, bracket: char) -> Result<Option<&str>> {
    value.map(|value| fitting(value.starts_with(bracket).then_some(value))).transpose()
}

fn unfit() -> Error {
    Error::new(ErrorKind::Bug, "a value does not fit its column")
}

/// Arrays that do not fit together.
pub(super) fn misshapen(error: ArrowError) -> Error {
    Error::new(ErrorKind::Bug, format!("the columns do not fit together: {error}")).caused_by(error)
}
