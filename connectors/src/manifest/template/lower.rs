//! Rewrites a parsed template so that operators mean what they mean in Python.
//!
//! The template engine compares and adds its own way (`none < 'a'` is an answer there, a `TypeError` in Python). Operators become
//! calls of the functions in [`super::operators`]; everything else is printed as it was parsed.

use std::fmt::Write as _;

use minijinja::{
    Error, Value,
    machinery::{ast, parse},
    syntax::SyntaxConfig,
};

use super::super::json::write_text;

/// The rewritten source of `source`.
///
/// # Errors
/// What is not a template, or a statement that the language does not have.
pub(super) fn lower(source: &str) -> Result<String, String> {
    let parsed = parse(source, "template", SyntaxConfig::default()).map_err(|error| syntax_message(&error))?;
    let mut printer = Printer { out: String::with_capacity(source.len() + 32), namespaces: Vec::new() };
    printer.statement(&parsed)?;
    Ok(printer.out)
}

fn syntax_message(error: &Error) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned)
}

pub(super) struct Printer {
    out: String,
    /// Names of namespaces. Only their attributes can be used: one that holds itself would never be freed.
    pub(super) namespaces: Vec<String>,
}

pub(super) type Printed = Result<(), String>;

impl Printer {
    pub(super) fn put(&mut self, text: &str) -> Printed {
        self.out.push_str(text);
        Ok(())
    }

    fn block(&mut self, statements: &[ast::Stmt<'_>]) -> Printed {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &ast::Stmt<'_>) -> Printed {
        match statement {
            ast::Stmt::Template(template) => self.block(&template.children),
            ast::Stmt::EmitExpr(emit) => {
                self.put("{{ ")?;
                self.expression(&emit.expr)?;
                self.put(" }}")
            }
            ast::Stmt::EmitRaw(raw) => {
                self.put("{{ ")?;
                write_text(raw.raw, &mut self.out);
                self.put(" }}")
            }
            ast::Stmt::ForLoop(found) => self.for_loop(found),
            ast::Stmt::IfCond(found) => {
                self.put("{% if ")?;
                self.expression(&found.expr)?;
                self.put(" %}")?;
                self.block(&found.true_body)?;
                self.put("{% else %}")?;
                self.block(&found.false_body)?;
                self.put("{% endif %}")
            }
            ast::Stmt::Set(found) => {
                self.put("{% set ")?;
                self.target(&found.target)?;
                self.put(" = ")?;
                self.assigned(&found.target, &found.expr)?;
                self.put(" %}")
            }
            ast::Stmt::SetBlock(found) => {
                self.put("{% set ")?;
                self.target(&found.target)?;
                self.put(" %}")?;
                self.block(&found.body)?;
                self.put("{% endset %}")
            }
            ast::Stmt::WithBlock(found) => self.with_block(found),
            _ => Err("only {{ … }}, if, for, set and with are supported in templates".into()),
        }
    }

    fn for_loop(&mut self, found: &ast::ForLoop<'_>) -> Printed {
        self.put("{% for ")?;
        self.target(&found.target)?;
        self.put(" in ")?;
        self.expression(&found.iter)?;
        if let Some(filter) = &found.filter_expr {
            self.put(" if ")?;
            self.expression(filter)?;
        }
        self.put(if found.recursive { " recursive %}" } else { " %}" })?;
        self.block(&found.body)?;
        self.put("{% else %}")?;
        self.block(&found.else_body)?;
        self.put("{% endfor %}")
    }

    /// What a value is put into: a name, or several for its parts.
    fn target(&mut self, target: &ast::Expr<'_>) -> Printed {
        let parts = match target {
            ast::Expr::List(list) => &list.items,
            ast::Expr::Tuple(tuple) => &tuple.items,
            other => return self.expression(other),
        };
        self.put("(")?;
        for (index, part) in parts.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            self.target(part)?;
        }
        self.put(if parts.len() == 1 { ",)" } else { ")" })
    }

    fn with_block(&mut self, found: &ast::WithBlock<'_>) -> Printed {
        self.put("{% with ")?;
        for (index, (target, value)) in found.assignments.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            self.target(target)?;
            self.put(" = ")?;
            self.expression(value)?;
        }
        self.put(" %}")?;
        self.block(&found.body)?;
        self.put("{% endwith %}")
    }

    pub(super) fn expression(&mut self, expression: &ast::Expr<'_>) -> Printed {
        match expression {
            ast::Expr::Var(var) => self.name(var.id),
            ast::Expr::Const(constant) => self.constant(&constant.value),
            ast::Expr::Slice(slice) => {
                self.operand(&slice.expr)?;
                self.put("[")?;
                for (index, part) in [&slice.start, &slice.stop, &slice.step].into_iter().enumerate() {
                    self.put(if index > 0 { ":" } else { "" })?;
                    part.as_ref().map_or(Ok(()), |part| self.expression(part))?;
                }
                self.put("]")
            }
            ast::Expr::UnaryOp(unary) => match unary.op {
                ast::UnaryOpKind::Not => {
                    self.put("(not ")?;
                    self.expression(&unary.expr)?;
                    self.put(")")
                }
                ast::UnaryOpKind::Neg => self.call("__neg", &[&unary.expr]),
            },
            ast::Expr::BinOp(binary) => self.binary(binary),
            ast::Expr::Compare(chain) => self.comparison(chain),
            ast::Expr::IfExpr(choice) => self.choice(choice),
            ast::Expr::Filter(filter) => self.filter(filter),
            ast::Expr::Test(test) => self.test(test),
            ast::Expr::GetAttr(found) => {
                self.owner(&found.expr)?;
                self.put(".")?;
                self.put(found.name)
            }
            ast::Expr::GetItem(found) => {
                self.owner(&found.expr)?;
                self.put("[")?;
                self.expression(&found.subscript_expr)?;
                self.put("]")
            }
            ast::Expr::Call(call) => {
                self.operand(&call.expr)?;
                self.arguments(&call.args)
            }
            ast::Expr::List(list) => self.items("__list(", &list.items, ")"),
            ast::Expr::Tuple(tuple) => self.items("__tuple(", &tuple.items, ")"),
            ast::Expr::Map(map) => self.map(map),
        }
    }

    fn choice(&mut self, choice: &ast::IfExpr<'_>) -> Printed {
        self.put("(")?;
        self.expression(&choice.true_expr)?;
        self.put(" if ")?;
        self.expression(&choice.test_expr)?;
        if let Some(otherwise) = &choice.false_expr {
            self.put(" else ")?;
            self.expression(otherwise)?;
        }
        self.put(")")
    }

    fn test(&mut self, test: &ast::Test<'_>) -> Printed {
        self.put("(")?;
        self.operand(&test.expr)?;
        self.put(" is ")?;
        self.put(test.name)?;
        if !test.args.is_empty() {
            self.arguments(&test.args)?;
        }
        self.put(")")
    }

    fn filter(&mut self, filter: &ast::Filter<'_>) -> Printed {
        self.put("(")?;
        match &filter.expr {
            Some(inner) => self.operand(inner)?,
            None => return Err("a filter needs a value".into()),
        }
        self.put("|")?;
        self.put(filter.name)?;
        if !filter.args.is_empty() {
            self.arguments(&filter.args)?;
        }
        self.put(")")
    }

    fn map(&mut self, map: &ast::Map<'_>) -> Printed {
        self.put("__map(")?;
        for (index, (key, value)) in map.keys.iter().zip(&map.values).enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            self.expression(key)?;
            self.put(", ")?;
            self.expression(value)?;
        }
        self.put(")")
    }

    /// An expression that something is appended to: numbers and conditions need parentheses there.
    pub(super) fn operand(&mut self, expression: &ast::Expr<'_>) -> Printed {
        if matches!(expression, ast::Expr::Const(_)) {
            self.put("(")?;
            self.expression(expression)?;
            return self.put(")");
        }
        self.expression(expression)
    }

    fn items(&mut self, open: &str, items: &[ast::Expr<'_>], close: &str) -> Printed {
        self.put(open)?;
        for (index, item) in items.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            self.expression(item)?;
        }
        self.put(close)
    }

    fn call(&mut self, name: &str, arguments: &[&ast::Expr<'_>]) -> Printed {
        self.put(name)?;
        self.put("(")?;
        for (index, argument) in arguments.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            self.expression(argument)?;
        }
        self.put(")")
    }

    pub(super) fn arguments(&mut self, arguments: &[ast::CallArg<'_>]) -> Printed {
        self.put("(")?;
        for (index, argument) in arguments.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" })?;
            match argument {
                ast::CallArg::Pos(value) => self.expression(value)?,
                ast::CallArg::Kwarg(name, value) => {
                    self.put(name)?;
                    self.put("=")?;
                    self.expression(value)?;
                }
                ast::CallArg::PosSplat(value) => {
                    self.put("*")?;
                    self.expression(value)?;
                }
                ast::CallArg::KwargSplat(value) => {
                    self.put("**")?;
                    self.expression(value)?;
                }
            }
        }
        self.put(")")
    }

    fn binary(&mut self, binary: &ast::BinOp<'_>) -> Printed {
        use ast::BinOpKind as Kind;
        let plain = match binary.op {
            Kind::ScAnd => " and ",
            Kind::ScOr => " or ",
            Kind::Eq => " == ",
            Kind::Ne => " != ",
            other => return self.call(function_of(other), &[&binary.left, &binary.right]),
        };
        self.put("(")?;
        self.expression(&binary.left)?;
        self.put(plain)?;
        self.expression(&binary.right)?;
        self.put(")")
    }

    /// `a < b < c` holds when `a < b` and `b < c`.
    fn comparison(&mut self, chain: &ast::Compare<'_>) -> Printed {
        use ast::CompareOpKind as Kind;
        let mut left = &chain.expr;
        self.put("(")?;
        for (index, step) in chain.ops.iter().enumerate() {
            self.put(if index > 0 { " and " } else { "" })?;
            let sides = [left, &step.expr];
            match step.op {
                Kind::Eq | Kind::Ne => {
                    self.put("(")?;
                    self.expression(left)?;
                    self.put(if matches!(step.op, Kind::Eq) { " == " } else { " != " })?;
                    self.expression(&step.expr)?;
                    self.put(")")?;
                }
                Kind::Lt => self.call("__lt", &sides)?,
                Kind::Lte => self.call("__le", &sides)?,
                Kind::Gt => self.call("__gt", &sides)?,
                Kind::Gte => self.call("__ge", &sides)?,
                Kind::In => self.call("__in", &sides)?,
                Kind::NotIn => {
                    self.put("(not ")?;
                    self.call("__in", &sides)?;
                    self.put(")")?;
                }
            }
            left = &step.expr;
        }
        self.put(")")
    }

    fn constant(&mut self, value: &Value) -> Printed {
        match value.as_str() {
            Some(text) => write_text(text, &mut self.out),
            None => {
                let mut text = String::new();
                super::values::write_repr(value, &mut text);
                let written = write!(self.out, "{}", if text.is_empty() { "none" } else { &text });
                debug_assert!(written.is_ok(), "writing to a String cannot fail");
            }
        }
        Ok(())
    }
}

fn function_of(kind: ast::BinOpKind) -> &'static str {
    use ast::BinOpKind as Kind;
    match kind {
        Kind::Lt => "__lt",
        Kind::Lte => "__le",
        Kind::Gt => "__gt",
        Kind::Gte => "__ge",
        Kind::Sub => "__sub",
        Kind::Mul => "__mul",
        Kind::Div => "__div",
        Kind::FloorDiv => "__floordiv",
        Kind::Rem => "__mod",
        Kind::Pow => "__pow",
        Kind::Concat => "__cat",
        Kind::In => "__in",
        Kind::Add | Kind::Eq | Kind::Ne | Kind::ScAnd | Kind::ScOr => "__add",
    }
}
